# SPDX-License-Identifier: GPL-2.0
"""Measure ways to receive against each other, on this kernel; print JSON, one object a line.

`./run_tests.py bench` runs this in a guest and makes a report of it; as root on a kernel with
zctap it also runs by itself, `python3 -m selftests.zctap.bench --help`. Sender and receiver are
processes of their own (bench_ends.py), which last for the whole run, on CPUs of their own.
"""

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lib.bench.case import (
    BASE,
    FLOWS,
    MTUS,
    ROUNDS,
    SIZES,
    WAYS,
    Setting,
    length,
    part,
    settings,
    steps,
)
from lib.bench.measurement import Cpu, Measurement
from lib.child import Child
from lib.cpus import allowed
from lib.zctap import NoZctap, probe
from netns import Link, LinkSpec, Unsupported
from netns.rps import receive_on
from selftests.zctap.bench_ends import BOUND, UNBOUND, receiver, sender

_TICK = os.sysconf("SC_CLK_TCK")
_PATIENCE = 20.0  # for a transfer, on a fast machine (s)


def tell(ev: str, **fields: Any) -> None:
    """Print a line, at once."""
    print(json.dumps({"ev": ev, **fields}), flush=True)


def busy() -> float:
    """CPU time of the whole machine since whenever (s), interrupts included.

    By the time that it was not idle, as a busy host takes timer interrupts from its guests, by
    which the rest of the line is counted.
    """
    words = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    count = os.sysconf("SC_NPROCESSORS_ONLN")
    return count * time.monotonic() - (int(words[4]) + int(words[5])) / _TICK


class Bench:
    """The link, and the processes at its ends."""

    def __init__(self, link: Link, rx: Child, tx: Child) -> None:
        self.link, self.rx, self.tx = link, rx, tx
        self._mtu, self._queue = link.spec.mtu, -1

    def prepare(self, setting: Setting, way: str) -> None:
        """Bring the link into shape."""
        queue = BOUND if way == "zero-copy" else UNBOUND
        if queue != self._queue:
            self.link.steer(queue)
            self._queue = queue
        if setting.mtu != self._mtu:
            for end in (self.link.tx, self.link.rx):
                end.set(mtu=setting.mtu)
            self._mtu = setting.mtu

    def transfer(
        self, setting: Setting, way: str, count: int, *, profile: bool = False
    ) -> dict[str, Any]:
        """Send that many bytes: what both ends say of it. Raises RuntimeError, TimeoutError."""
        self.prepare(setting, way)
        order = {"way": way, "flows": setting.flows, "profile": profile}
        self.rx.say(json.dumps(order))
        order |= {"port": int(self.rx.hear()), "size": setting.size, "bytes": count}
        self.tx.say(json.dumps(order))
        self.tx.expect("connected")
        self.rx.expect("ready")
        before = busy()
        self.tx.say("go")
        found: dict[str, Any] = json.loads(self.rx.hear(_PATIENCE))
        found |= json.loads(self.tx.hear(_PATIENCE))
        found["machine"] = busy() - before
        if found["bytes"] != count:
            raise RuntimeError(f"{way}: {found['bytes']} bytes of {count} arrived")
        return found

    def measure(self, setting: Setting, way: str, number: int, count: int) -> Measurement:
        """A transfer as a measurement."""
        found = self.transfer(setting, way, count)
        return Measurement(
            way=way,
            setting=setting,
            round=number,
            bytes=count,
            seconds=found["end"] - found["begin"],
            receiver=Cpu(**found["receiver"]),
            sender=Cpu(**found["sender"]),
            machine=found["machine"],
            zero_copy=found.get("zero_copy", 0),
            copied=found.get("copied", 0),
            cqes=found.get("cqes", 0),
            calls=found["calls"],
            writes=found["writes"],
            again=found["again"],
        )

    def calibrate(self, setting: Setting, seconds: float) -> int:
        """How many bytes take so long, by the way that all are compared with.

        By the better of two transfers that are not too short: a machine that is busy makes one
        take longer now and then, none shorter.
        """
        count, best, enough = length(0, 0, setting), 0.0, 0
        while enough < 2:
            found = self.transfer(setting, BASE, count)
            took = found["end"] - found["begin"]
            best = max(best, count / took)
            enough += took >= seconds / 4
            count = max(count, length(best, seconds / 2, setting))
        return length(best, seconds, setting)


def measure_all(bench: Bench, wanted: Sequence[Setting], options: argparse.Namespace) -> None:
    """Everything, a line each."""
    tell("plan", total=len(wanted) * len(WAYS) * options.rounds, kernel=os.uname().release)
    for way in WAYS:  # memory is touched for the first time, and modules are loaded
        bench.transfer(wanted[0], way, 4 * length(0, 0, wanted[0]))
    # Beforehand: else the first round would be another one than the others.
    counts = {setting: bench.calibrate(setting, options.seconds) for setting in wanted}
    turn = None
    for step in steps(wanted, options.rounds):
        count = counts[step.setting]
        if turn != (step.round, step.setting):
            # The first way would meet what another setting has left. By itself, as in four rounds
            # each way then follows itself once, as it does each of the others.
            bench.transfer(step.setting, step.way, part(count, step.setting))
            turn = (step.round, step.setting)
        found = bench.measure(step.setting, step.way, step.round, count)
        tell("measurement", **json.loads(found.to_json()))


def profile_all(bench: Bench, wanted: Sequence[Setting], options: argparse.Namespace) -> None:
    """Where the receiving process spends its CPU time, by the profiler, which takes its share."""
    tell("plan", total=2, kernel=os.uname().release)
    setting = wanted[-1]
    count = bench.calibrate(setting, options.seconds)
    for way in ("zero-copy", "copied"):
        found = bench.transfer(setting, way, 2 * count, profile=True)
        tell("profile", way=way, setting=str(setting), bytes=2 * count, text=found["profile"])


def run(options: argparse.Namespace) -> int:
    """Set up, measure, and take everything down."""
    zctap = probe()
    wanted = settings(options.sizes, options.flows, options.mtus)
    spec = LinkSpec(mtu=wanted[0].mtu)
    with Link(spec) as link, contextlib.ExitStack() as undo:
        link.steer(UNBOUND)
        # Else acknowledgements are worked off, and data sent, on the receiver's CPU time.
        receive_on(link.tx, allowed()[0])
        tx = undo.enter_context(Child(sender(link)))
        rx = undo.enter_context(Child(receiver(link, zctap)))
        rx.expect("made")
        (profile_all if options.loop else measure_all)(Bench(link, rx, tx), wanted, options)
    return 0


def numbers(text: str) -> list[int]:
    """Numbers with commas between them."""
    return [int(word) for word in text.split(",")]


def main(arguments: list[str]) -> int:
    """Run; 0 if all was measured, 1 if a transfer went wrong, 2 if it cannot run here."""
    parser = argparse.ArgumentParser(prog="bench", description="ways to receive, measured")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="measurements of each")
    parser.add_argument("--seconds", type=float, default=0.5, help="for a measurement")
    parser.add_argument("--sizes", type=numbers, default=SIZES, help="bytes a write: 1024,65536")
    parser.add_argument("--flows", type=numbers, default=FLOWS, help="connections: 1,4")
    parser.add_argument("--mtus", type=numbers, default=MTUS, help="bytes a packet: 1500,9000")
    parser.add_argument("--loop", action="store_true", help="a profile of the loop instead")
    try:
        return run(parser.parse_args(arguments))
    except (NoZctap, Unsupported, PermissionError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except (RuntimeError, TimeoutError, OSError) as error:
        # A child's traceback comes with its failure: its last line says what it was.
        print(f"bench: {str(error).strip().splitlines()[-1]}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
