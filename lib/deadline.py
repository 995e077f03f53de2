# SPDX-License-Identifier: GPL-2.0
"""Waiting for a condition, with deadlines that allow for the machine.

A deadline is written for a fast machine and multiplied by scale(): how much slower this one is,
measured once in a process, or set with the environment variable ZCTAP_TIME_SCALE. Tests never
sleep; wait_until() polls for them.
"""

import os
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import TypeVar

from lib import waits

T = TypeVar("T")

# What the two probes take on the machine the deadlines were written on (a 2020s x86-64 at 3 GHz,
# no debug options): 1.0 ms of interpreter, 0.5 ms of system calls and copying.
_PYTHON_NOMINAL, _KERNEL_NOMINAL = 0.0010, 0.0005
# Bounds: a busy machine is never taken for a fast one, a hiccup never turns seconds into hours.
_LEAST, _MOST = 2.0, 100.0
# So often a condition is looked at before it counts as not come true.
_LOOKS = 10
# Where nobody sets ZCTAP_CEILING, see ceiling().
_CEILING = 60.0


def _python_probe() -> None:
    total = 0
    for number in range(20_000):
        total += number


def _kernel_probe() -> None:
    reader, writer = os.pipe()
    block = bytes(32_768)
    try:
        for _ in range(30):
            os.write(writer, block)
            os.read(reader, len(block))
    finally:
        os.close(reader)
        os.close(writer)


def _best_of(probe: Callable[[], None], runs: int = 3) -> float:
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        probe()
        times.append(time.perf_counter() - begin)
    return min(times)


@cache
def scale() -> float:
    """Factor for deadlines on this machine; ZCTAP_TIME_SCALE overrides the measurement."""
    given = os.environ.get("ZCTAP_TIME_SCALE")
    if given:
        return float(given)
    slowness = max(
        _best_of(_python_probe) / _PYTHON_NOMINAL, _best_of(_kernel_probe) / _KERNEL_NOMINAL
    )
    return min(_MOST, max(_LEAST, slowness))


def ceiling() -> float:
    """The longest wait, whatever the machine (s).

    One that goes wrong must end before its test's own deadline does, or the run loses the guest and
    all tests that were to follow. So who sets that deadline sets ZCTAP_CEILING, too.
    """
    return float(os.environ.get("ZCTAP_CEILING") or _CEILING)


def scaled(seconds: float) -> float:
    """A time of a fast machine, for this one, up to ceiling()."""
    return max(seconds, min(ceiling(), seconds * scale()))


def wait_until(
    condition: Callable[[], T],
    what: str | Callable[[], str],
    seconds: float = 2.0,
    *,
    interval: float = 0.02,
    exact: bool = False,
) -> T:
    """Poll until `condition()` is true, and return its value.

    Raises TimeoutError naming `what` (text, or a function that says how things stand) after
    scaled(seconds), and some looks; exact: after just so many seconds. The pauses begin at 1 ms and
    double up to `interval`.
    """
    limit = seconds if exact else scaled(seconds)
    # A machine that was stopped has done nothing in the seconds that are gone.
    looks = 0 if exact else _LOOKS
    begin = time.monotonic()
    deadline, pause = begin + limit, 0.001
    try:
        while True:
            value = condition()
            if value:
                return value
            looks -= 1
            if looks < 0 and time.monotonic() > deadline:
                text = what if isinstance(what, str) else what()
                raise TimeoutError(f"not within {limit:.1f} s: {text}")
            time.sleep(pause)
            pause = min(interval, pause * 2)
    finally:
        waits.note(_site(condition), time.monotonic() - begin)


def _site(condition: Callable[[], object]) -> str:
    """Name a condition by where it is written."""
    name: str = getattr(condition, "__qualname__", type(condition).__qualname__)
    return f"{getattr(condition, '__module__', '')}.{name}".replace(".<locals>", "")


def within(limit: float, action: Callable[[], T], what: str) -> T:
    """Run `action` in a thread, and return its value; TimeoutError after `limit` seconds.

    For calls that a broken kernel never returns from: the thread is left behind, then.
    """
    values: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            values.append(action())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(limit)
    if thread.is_alive():
        raise TimeoutError(f"{what}: not done after {limit:.1f} s")
    if errors:
        raise errors[0]
    return values[0]
