# SPDX-License-Identifier: GPL-2.0
"""What is said of a card on the command line, and what does not go with what.

Standard library only.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from lib.trouble import Trouble

_OWN = ("probe", "restore", "force", "forget", "i_know", "remote", "nic", "card")
_OF_RUN = ("force", "i_know", "remote", "nic", "card")  # those of them that a run has, too
CARDS = ("veth", "macvlan", "virtio-net", "e1000e")


@dataclass(frozen=True)
class Nic:
    """What was asked for about a card."""

    probe: bool = False
    restore: bool = False
    force: bool = False
    forget: bool = False
    i_know: bool = False
    remote: str = ""
    nic: str = ""  # a card of this machine, for a run on it
    card: str = ""  # one of CARDS, for a run, or the report, in a guest


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the options that only `nic` has."""
    add = parser.add_argument
    add("--probe", action="store_true", help="nic: ask its driver for zctap, by binding a queue")
    add("--restore", action="store_true", help="nic: put back what a killed run has left")
    add(
        "--nic",
        metavar="IFACE",
        default="",
        help="--host, also of demo and bench: this card, see docs/nic.md",
    )
    add(
        "--card",
        choices=CARDS,
        default="",
        help="in a guest, also of demo and bench: such a device as a card",
    )
    add(
        "--force",
        action="store_true",
        help="tests of a card: fail where it lacks something; nic --restore: whoever changed it",
    )
    add("--forget", action="store_true", help="nic --restore: leave that as it is")
    add("--i-know", action="store_true", help="even if a card has the default route or ssh")
    add("--remote", metavar="USER@HOST", default="", help="a card's other end, see docs/nic.md")


def check(command: str, given: argparse.Namespace, words: list[str]) -> Nic:
    """Return the options of `nic`. Raises Trouble for what makes no sense."""
    wanted = Nic(**{name: getattr(given, name) for name in _OWN})
    if command in ("run", "demo", "bench"):
        return _of_run(command, given, wanted)
    if command != "nic":
        _without(command, wanted, _OWN)
        return wanted
    if wanted.nic:
        raise Trouble("'nic' takes an interface without --nic")
    if len(words) > 1 or (words and wanted.card):
        raise Trouble("'nic' takes one interface, or --card")
    kernel = given.tree or given.kernel or given.debian or given.profile or given.coverage
    if kernel and not wanted.card:
        raise Trouble("'nic' is about this machine's kernel, but for --card")
    if wanted.card and (wanted.restore or wanted.i_know or wanted.remote or given.json):
        raise Trouble("'nic --card' takes --probe only: nothing is kept of a guest")
    if given.keyword is not None or given.markers is not None or given.only:
        raise Trouble("'nic' runs no tests; it takes an interface")
    if (wanted.force or wanted.forget) and not wanted.restore:
        raise Trouble("--force and --forget go with --restore")
    if wanted.force and wanted.forget:
        raise Trouble("--force and --forget exclude each other")
    if wanted.restore and (wanted.probe or given.json):
        raise Trouble("--restore goes without --probe and --json")
    return wanted


def _without(command: str, wanted: Nic, names: tuple[str, ...]) -> None:
    """Raise Trouble for options that go with something else."""
    for name in names:
        if getattr(wanted, name):
            raise Trouble(f"--{name.replace('_', '-')} does not go with {command!r}")


def _of_run(command: str, given: argparse.Namespace, wanted: Nic) -> Nic:
    _without(command, wanted, tuple(name for name in _OWN if name not in _OF_RUN))
    if command != "run":
        _without(command, wanted, ("force",))
    if given.host and wanted.card:
        raise Trouble("--card is for guests; a card of this machine is named by --nic")
    if not given.host and (wanted.nic or wanted.remote or wanted.i_know):
        raise Trouble("--nic, --remote and --i-know name a card of this machine: with --host")
    if wanted.force and not (given.host or wanted.card):
        raise Trouble("--force goes with a card: --host with --nic, or --card")
    return wanted
