# SPDX-License-Identifier: GPL-2.0
"""What goes with `nic` on the command line, and what does not. Standard library only."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from lib.trouble import Trouble

_OWN = ("probe", "restore", "force", "forget", "i_know", "remote")


@dataclass(frozen=True)
class Nic:
    """What was asked for about a card."""

    probe: bool = False
    restore: bool = False
    force: bool = False
    forget: bool = False
    i_know: bool = False
    remote: str = ""


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the options that only `nic` has."""
    add = parser.add_argument
    add("--probe", action="store_true", help="nic: ask its driver for zctap, by binding a queue")
    add("--restore", action="store_true", help="nic: put back what a killed run has left")
    add("--force", action="store_true", help="nic --restore: also what others have changed since")
    add("--forget", action="store_true", help="nic --restore: leave that as it is")
    add("--i-know", action="store_true", help="nic: even if it carries the default route or ssh")
    add("--remote", metavar="USER@HOST", default="", help="nic: the other end, see docs/nic.md")


def check(command: str, given: argparse.Namespace, words: list[str]) -> Nic:
    """Return the options of `nic`. Raises Trouble for what makes no sense."""
    wanted = Nic(**{name: getattr(given, name) for name in _OWN})
    if command != "nic":
        if wanted != Nic():
            names = ", ".join("--" + name.replace("_", "-") for name in _OWN)
            raise Trouble(f"{names} go with 'nic'")
        return wanted
    if len(words) > 1:
        raise Trouble("'nic' takes one interface")
    if given.tree or given.kernel or given.debian or given.profile or given.coverage:
        raise Trouble("'nic' is about this machine's kernel")
    if given.keyword is not None or given.markers is not None or given.only:
        raise Trouble("'nic' runs no tests; it takes an interface")
    if (wanted.force or wanted.forget) and not wanted.restore:
        raise Trouble("--force and --forget go with --restore")
    if wanted.force and wanted.forget:
        raise Trouble("--force and --forget exclude each other")
    if wanted.restore and (wanted.probe or given.json):
        raise Trouble("--restore goes without --probe and --json")
    return wanted
