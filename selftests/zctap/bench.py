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
import signal
import sys
from collections.abc import Sequence
from typing import Any

from lib.bench.case import (
    ROUNDS,
    Setting,
    length,
    part,
    refused,
    settings,
    steps,
    switched,
)
from lib.child import Child
from lib.cpus import allowed
from lib.trouble import Trouble
from lib.zctap import NoZctap, probe
from netns import Link, Unsupported
from netns.dial import AnyLink
from netns.ethtool import has_tso
from netns.named import any_link
from netns.rps import receive_on
from selftests.zctap.bench_ends import BOUND, receiver, sender
from selftests.zctap.bench_transfer import Bench, Failed, failing


def tell(ev: str, **fields: Any) -> None:
    """Print a line, at once."""
    print(json.dumps({"ev": ev, **fields}), flush=True)


def remark(text: str) -> None:
    """Say what who reads the figures has to know."""
    tell("remark", text=text)


def plan(total: int, calibrations: int) -> None:
    """Say how much there is to do."""
    tell("plan", total=total, calibrations=calibrations, kernel=os.uname().release)


def warm_up(bench: Bench, setting: Setting) -> None:
    """Have memory touched for the first time, and modules loaded."""
    for way in bench.ways:
        bench.transfer(setting, way, 4 * length(0, 0, setting), "first of all")


def calibrated(bench: Bench, setting: Setting, seconds: float) -> int:
    """How many bytes to send there; say that it is known."""
    found = bench.calibrate(setting, seconds)
    tell("calibrated", setting=str(setting), bytes=found)
    return found


def measure_all(bench: Bench, wanted: Sequence[Setting], options: argparse.Namespace) -> None:
    """Everything, a line each."""
    plan(len(wanted) * len(bench.ways) * options.rounds, len(wanted))
    warm_up(bench, wanted[0])
    # Beforehand: else the first round would be another one than the others.
    counts = {setting: calibrated(bench, setting, options.seconds) for setting in wanted}
    turn = None
    for step in steps(wanted, options.rounds):
        count = counts[step.setting]
        if step.way not in bench.ways:
            continue
        if turn != (step.round, step.setting):
            # The first way would meet what another setting has left. By itself, as in four rounds
            # each way then follows itself once, as it does each of the others.
            what = f"before round {step.round + 1}"
            bench.transfer(step.setting, step.way, part(count, step.setting), what)
            turn = (step.round, step.setting)
        found = bench.measure(step.setting, step.way, step.round, count)
        tell("measurement", **json.loads(found.to_json()))


def profile_all(bench: Bench, wanted: Sequence[Setting], options: argparse.Namespace) -> None:
    """Where the receiving process spends its CPU time, by the profiler, which takes its share."""
    plan(len(bench.ways) - 2, 1)
    setting = wanted[-1]
    warm_up(bench, setting)
    count = calibrated(bench, setting, options.seconds)
    for way in bench.ways[:1:-1]:
        found = bench.transfer(setting, way, 2 * count, "profile", profile=True)
        tell("profile", way=way, setting=str(setting), bytes=2 * count, text=found["profile"])


def kind_of(link: AnyLink) -> tuple[int, bool]:
    """MTU, and whether there is TSO. Raises Unsupported for a link that cannot be measured."""
    if link.far is not None:
        raise Unsupported("both ends' CPU time is measured: with REMOTE_TYPE=netns only")
    if 4 not in link.families:
        raise Unsupported("measured over IPv4: LOCAL_V4 and REMOTE_V4 are not given")
    with link.tx.netlink() as ip:
        mtu = int(ip.link("get", index=link.tx.ifindex)[0].get("IFLA_MTU"))
    return mtu, has_tso(link.tx)


def settings_of(
    options: argparse.Namespace, link: AnyLink, kind: tuple[int, bool]
) -> list[Setting]:
    """What to measure there: nothing is changed of what is not ours. Raises Unsupported."""
    if isinstance(link, Link):
        return settings(options.sizes, options.flows, options.mtus, options.tso)
    if options.mtus or options.tso:
        raise Unsupported("a card is measured with the MTU and the TSO it has")
    return settings(options.sizes, options.flows, [kind[0]], [kind[1]])


def remarks(link: AnyLink) -> None:
    """Say what is special."""
    if not isinstance(link, Link):
        remark(f"{link.rx.ifname}: " + (link.copies or "receives without copies"))
        remark("a card's other end is left as it is: no RPS")
    # Else acknowledgements are worked off, and data sent, on the receiver's CPU time.
    elif not receive_on(link.tx, allowed()[0]):
        remark("no RPS in this kernel: acknowledgements are taken in on the receiver's time")
    if len(allowed()) == 1:
        remark("one CPU to run on: receiver and sender share it")


def run(options: argparse.Namespace) -> int:
    """Set up, measure, and take everything down."""
    zctap = probe()
    with contextlib.ExitStack() as undo:
        with failing("set-up"):
            link = undo.enter_context(any_link(BOUND))
            kind = kind_of(link)
            wanted = settings_of(options, link, kind)
            remarks(link)
            tx = undo.enter_context(Child(sender(link)))
            rx = undo.enter_context(Child(receiver(link, zctap)))
            rx.expect("made")
        bench = Bench(link, rx, tx, kind)
        (profile_all if options.loop else measure_all)(bench, wanted, options)
    return 0


def count(text: str) -> int:
    """One at least. Raises ValueError."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def counts(text: str) -> list[int]:
    """Such numbers, with commas between them. Raises ValueError."""
    return [count(word) for word in text.split(",")]


def moment(text: str) -> float:
    """Seconds that a transfer can take before one believes it to hang. Raises ValueError."""
    seconds = float(text)
    if not 0.01 <= seconds <= 10:
        raise ValueError(text)
    return seconds


def parsed(arguments: list[str]) -> argparse.Namespace:
    """The options; exits with 2 for those that make no sense."""
    parser = argparse.ArgumentParser(prog="bench", description="ways to receive, measured")
    add = parser.add_argument
    add("--rounds", type=count, default=ROUNDS, help="measurements of each")
    add("--seconds", type=moment, default=0.5, help="for a measurement (0.01 to 10)")
    add("--sizes", type=counts, default=(), help="bytes a write: 1024,65536")
    add("--flows", type=counts, default=(), help="connections: 1,4")
    add("--mtus", type=counts, default=(), help="bytes a packet: 1500,9000")
    add("--tso", type=switched, default=(), help="frames of up to 64 KiB: on,off")
    add("--loop", action="store_true", help="a profile of the loop instead")
    options = parser.parse_args(arguments)
    if why := refused(options.sizes, options.flows, options.mtus):
        parser.error(why)
    return options


def main(arguments: list[str]) -> int:
    """Run; 0 if all was measured, 1 if a transfer went wrong, 2 if it cannot run here.

    130 if it was interrupted.
    """
    options = parsed(arguments)
    try:
        return run(options)
    except (NoZctap, Unsupported, Trouble, PermissionError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except Failed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read what was measured has gone; so do we.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
