# SPDX-License-Identifier: GPL-2.0
"""What goes with `mutants` on the command line, and what does not. Standard library only."""

from __future__ import annotations

import argparse

from lib.trouble import Trouble


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the options that only `mutants` has."""
    add = parser.add_argument
    add("--full", action="store_true", help="mutants: also find the tests that kill none")
    add("--survivors", action="store_true", help="mutants: run nothing, list those that lived")
    add("--generic", type=int, metavar="N", help="mutants: N at random, by --seed")


def check(command: str, given: argparse.Namespace, words: list[str]) -> None:
    """Raise Trouble for what does not go with mutants, or with nothing else."""
    if command != "mutants":
        if given.full or given.survivors or given.generic is not None:
            raise Trouble("--full, --survivors and --generic go with 'mutants'")
        return
    if given.generic is not None and (given.generic < 1 or words):
        raise Trouble("--generic: one at least" if given.generic < 1 else "--generic takes no ids")
    if given.full and (given.generic is not None or words):
        raise Trouble("--full is about the whole catalogue: it takes no ids, and no --generic")
    if given.tree or given.kernel or given.debian or given.profile or given.coverage:
        raise Trouble("'mutants' builds a kernel of its own, in a profile of its own")
    if given.keyword is not None or given.markers is not None or given.only:
        raise Trouble("'mutants' runs the whole suite; it takes ids of mutants")
