# SPDX-License-Identifier: GPL-2.0
"""Coverage as numbers and as a list of what is missing: pure logic on gcov's JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any


@dataclass
class Line:
    """How often a line ran, and how often each of its branches was taken."""

    count: int = 0
    branches: list[int] = field(default_factory=list)

    def add(self, count: int, branches: list[int]) -> None:
        """Add what another compilation of the line says: of an inline function, or a header's.

        Where the compiler made other branches of it, the richer one speaks for both.
        """
        self.count += count
        if len(branches) == len(self.branches):
            self.branches = [a + b for a, b in zip(self.branches, branches, strict=True)]
        elif len(branches) > len(self.branches):
            self.branches = list(branches)


Files = dict[str, dict[int, Line]]  # name -> number of the line -> line


TextOf = Callable[[str], list[str] | None]  # the lines of a file; None: not of interest

# Of modules only: what is built in never exits.
_EXIT = re.compile(r"\b__exit\b")
# What is there not to come true: there is no test for the other branch.
_ASSERTION = re.compile(r"\b(ASSERT_RTNL|WARN_ON\w*|WARN|lockdep_assert\w*)\(")


def merge(told: Iterable[dict[str, Any]], tree: str, text_of: TextOf) -> Files:
    """Return files below `tree`, of any number of gcov's JSON outputs.

    Leaves out functions that are __exit, and the branches of assertions.
    """
    files: Files = {}
    for file in (file for output in told for file in output["files"]):
        name = file["file"].removeprefix(f"{tree}/")
        text = text_of(name)
        if text is None:
            continue
        exits = {
            number
            for function in file["functions"]
            if _EXIT.search(text[function["start_line"] - 1])
            for number in range(function["start_line"], function["end_line"] + 1)
        }
        lines = files.setdefault(name, {})
        for line in file["lines"]:
            number = line["line_number"]
            if number in exits:
                continue
            branches = [branch["count"] for branch in line["branches"]]
            if _ASSERTION.search(text[number - 1]):
                branches = []
            lines.setdefault(number, Line()).add(line["count"], branches)
    return files


@dataclass(frozen=True)
class Share:
    """How many of how many."""

    covered: int
    total: int

    @property
    def percent(self) -> float:
        """0 to 100; all of nothing is 100."""
        return 100 * self.covered / self.total if self.total else 100.0

    def __str__(self) -> str:
        return f"{self.percent:.1f} % ({self.covered} of {self.total})"


@dataclass(frozen=True)
class Group:
    """What is reported as one: the lines of some files."""

    name: str
    files: Files

    @property
    def lines(self) -> Share:
        """How many lines ran."""
        lines = [line for file in self.files.values() for line in file.values()]
        return Share(sum(line.count > 0 for line in lines), len(lines))

    @property
    def branches(self) -> Share:
        """How many branches were taken."""
        counts = [
            count
            for file in self.files.values()
            for line in file.values()
            for count in line.branches
        ]
        return Share(sum(count > 0 for count in counts), len(counts))

    def __str__(self) -> str:
        return f"{self.name}: lines {self.lines}, branches {self.branches}"


ZCTAP = "io_uring/zctap*"
VETH = "drivers/net/veth.c"


def groups(files: Files, added: dict[str, list[int]]) -> list[Group]:
    """Return zctap's own files, and what the series adds to others: to veth, and elsewhere.

    Without a series `added` is empty, and so is all but the first.
    """
    own = {name: lines for name, lines in files.items() if fnmatch(name, ZCTAP)}
    others = {
        name: {number: line for number, line in lines.items() if number in set(added[name])}
        for name, lines in files.items()
        if name in added and name not in own
    }
    veth = {name: lines for name, lines in others.items() if name == VETH}
    rest = {name: lines for name, lines in others.items() if name != VETH and lines}
    found = [Group(ZCTAP, own)]
    if added:
        found += [
            Group(f"{VETH}, lines of the series", veth),
            Group("other files, lines of the series", rest),
        ]
    return found


def to_json(found: list[Group]) -> dict[str, Any]:
    """Return the figures of each group and of its files."""

    def figures(group: Group) -> dict[str, Any]:
        shares = {"lines": group.lines, "branches": group.branches}
        return {
            name: {"covered": s.covered, "total": s.total, "percent": round(s.percent, 2)}
            for name, s in shares.items()
        }

    return {
        group.name: {
            **figures(group),
            "files": {
                name: figures(Group(name, {name: lines}))
                for name, lines in sorted(group.files.items())
            },
        }
        for group in found
    }


def missing(found: list[Group], text_of: TextOf) -> Iterable[str]:
    """List the lines that did not run and the branches not taken, with their source.

    Branches of lines that did not run are not listed again.
    """
    for group in found:
        yield f"== {group}"
        for name, lines in sorted(group.files.items()):
            text = text_of(name) or []
            yield f"-- {Group(name, {name: lines})}"
            for number, line in sorted(lines.items()):
                source = text[number - 1].strip() if number <= len(text) else ""
                if not line.count:
                    yield f"{name}:{number}: not run: {source}"
                elif not all(line.branches):
                    taken = " ".join(map(str, line.branches))
                    yield f"{name}:{number}: branches taken [{taken}]: {source}"


# gcovr wants these, and they mean nothing here.
_FIXED = {
    "fallthrough": False,
    "throw": False,
    "source_block_id": 0,
    "destination_block_id": 0,
}


def tracefile(files: Files, version: str) -> dict[str, Any]:
    """Return what gcovr reads as its own JSON, to make pages of."""
    return {
        "gcovr/format_version": version,
        "files": [
            {
                "file": name,
                "functions": [],
                "lines": [
                    {
                        "line_number": number,
                        "count": line.count,
                        "branches": [
                            {"branchno": number, "count": count, **_FIXED}
                            for number, count in enumerate(line.branches)
                        ],
                    }
                    for number, line in sorted(lines.items())
                ],
            }
            for name, lines in sorted(files.items())
        ],
    }
