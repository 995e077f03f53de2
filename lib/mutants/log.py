# SPDX-License-Identifier: GPL-2.0
"""What became of each mutant, on disk: a line for each run of one, never rewritten."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lib.mutants.order import Learned
from lib.report.model import module_of


@dataclass(frozen=True)
class Suite:
    """The tests' contents: what all share, and module -> its own. Hashes."""

    shared: str
    modules: dict[str, str]


@dataclass(frozen=True)
class Kill:
    """A test that noticed: `how` is an outcome of lib/report/model.py, `why` a line for people."""

    test: str
    how: str
    why: str = ""


@dataclass(frozen=True)
class Attempt:
    """A run of tests against a mutant. Without a kill it has survived all of them, or so far."""

    mutant: str
    key: str  # of the mutant and the kernel around it
    shared: str
    modules: dict[str, str]
    seconds: float
    ran: int
    full: bool = False
    so_far: bool = False  # only the tests that were likely to notice have been run
    kills: list[Kill] = field(default_factory=list)

    def holds(self, key: str, suite: Suite, *, full: bool) -> bool:
        """Whether it says what a run would say now.

        A survivor has to see every change of the suite; a kill lasts as long as its test.
        """
        if self.key != key or self.shared != suite.shared or (full and not self.full):
            return False
        if full or not self.kills:
            return self.modules == suite.modules
        killer = module_of(self.kills[0].test)
        return self.modules.get(killer) == suite.modules.get(killer, "")


class Log:
    """The file. Appending is atomic enough for one writer that is killed at any time."""

    def __init__(self, path: Path) -> None:
        """Read what there is; a line that is damaged is as good as none."""
        self._path = path
        self.attempts: list[Attempt] = []
        try:
            lines = path.read_text().splitlines()
        except OSError:
            lines = []
        for line in lines:
            if attempt := _parsed(line):
                self.attempts.append(attempt)

    def add(self, attempt: Attempt) -> None:
        """Write a line, at once."""
        self.attempts.append(attempt)
        # A run that was killed in the middle of a line must not cost this one, too.
        start = "" if self._ends_well() else "\n"
        with self._path.open("a") as file:
            file.write(start + json.dumps(asdict(attempt)) + "\n")

    def _ends_well(self) -> bool:
        try:
            with self._path.open("rb") as file:
                file.seek(-1, 2)
                return file.read() == b"\n"
        except OSError:
            return True

    def latest(self, keys: dict[str, str], suite: Suite, *, full: bool) -> dict[str, Attempt]:
        """Return mutant -> the last attempt that still holds; `keys` has the keys of all.

        It may be one of which more is to come, if there is no other.
        """
        return {
            attempt.mutant: attempt
            for attempt in self.attempts
            if attempt.mutant in keys and attempt.holds(keys[attempt.mutant], suite, full=full)
        }

    def learned(self) -> Learned:
        """Return what killed which mutant, ever."""
        killers: dict[str, list[str]] = {}
        for attempt in self.attempts:
            tests = [kill.test for kill in attempt.kills]
            older = killers.get(attempt.mutant, [])
            killers[attempt.mutant] = list(dict.fromkeys([*tests, *older]))
        return Learned(killers)


def _parsed(line: str) -> Attempt | None:
    """Return the attempt of a line; None if it is damaged."""
    try:
        fields = json.loads(line)
        kills = [Kill(**kill) for kill in fields.pop("kills")]
        return Attempt(**fields, kills=kills)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def names(attempts: Iterable[Attempt]) -> set[str]:
    """Return the mutants of some attempts."""
    return {attempt.mutant for attempt in attempts}
