# SPDX-License-Identifier: GPL-2.0
"""Which CPUs the calling thread may run on."""

import contextlib
import os
import threading
from collections.abc import Iterator


def allowed() -> list[int]:
    """The CPUs it may use now, in order."""
    return sorted(os.sched_getaffinity(threading.get_native_id()))


@contextlib.contextmanager
def on_cpu(cpu: int) -> Iterator[None]:
    """Inside, it stays on that CPU; afterwards it may use those it could before."""
    thread = threading.get_native_id()
    before = os.sched_getaffinity(thread)
    os.sched_setaffinity(thread, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(thread, before)


def stay_on(cpu: int) -> None:
    """From here on, it stays on that CPU."""
    os.sched_setaffinity(threading.get_native_id(), {cpu})
