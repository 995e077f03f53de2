# SPDX-License-Identifier: GPL-2.0
"""What became of each mutant, on disk: a line for each run of one, never rewritten."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
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
    """A test that noticed: `how` is an outcome of lib/report/model.py, `why` a line for people.

    One that comes `after` another in the same guest may have failed for what that left behind.
    """

    test: str
    how: str
    why: str = ""
    after: bool = False


@dataclass(frozen=True)
class Attempt:
    """A run of tests against a mutant. Without a kill it has survived all of them, or so far.

    With --full some tests run that nobody has chosen for this mutant's sake: `apart`.
    """

    mutant: str
    key: str  # of the mutant and the kernel around it
    shared: str
    modules: dict[str, str]
    seconds: float
    ran: int
    so_far: bool = False  # only the tests that were likely to notice have been run
    kills: list[Kill] = field(default_factory=list)
    apart: bool = False
    met: list[str] = field(default_factory=list)  # of one apart: the tests that saw nothing

    @property
    def first(self) -> list[Kill]:
        """The kills by tests that had their guest as it should be."""
        return [kill for kill in self.kills if not kill.after]

    @property
    def weight(self) -> int:
        """How much it says about the mutant."""
        return 2 if self.first else 0 if self.apart else 1

    def valid(self, key: str, suite: Suite) -> Attempt | None:
        """Return what it says that a run would say now; None if that is nothing.

        A survivor has to see every change of the suite; a kill lasts as long as its test.
        """
        if self.key != key or self.shared != suite.shared:
            return None
        if self.weight == 1:
            return self if self.modules == suite.modules else None

        def same(test: str) -> bool:
            module = module_of(test)
            return self.modules.get(module) == suite.modules.get(module, "")

        kills = [kill for kill in self.kills if same(kill.test)]
        met = [test for test in self.met if same(test)]
        now = replace(self, kills=kills, met=met)
        return now if now.first or (self.apart and (kills or met)) else None


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

    def latest(self, keys: Mapping[str, str], suite: Suite) -> dict[str, Attempt]:
        """Return mutant -> the last attempt that still holds; `keys` has the keys of all.

        It has all kills that hold and all tests that saw nothing, of this attempt or another.
        """
        found: dict[str, Attempt] = {}
        for attempt in self.attempts:
            if now := attempt.valid(keys.get(attempt.mutant, ""), suite):
                older = found.get(attempt.mutant)
                found[attempt.mutant] = _joined(older, now) if older else now
        return found

    def learned(self) -> Learned:
        """Return what killed which mutant, ever."""
        killers: dict[str, list[str]] = {}
        for attempt in self.attempts:
            tests = [kill.test for kill in attempt.kills]
            older = killers.get(attempt.mutant, [])
            killers[attempt.mutant] = list(dict.fromkeys([*tests, *older]))
        return Learned(killers)


def _joined(older: Attempt, newer: Attempt) -> Attempt:
    """Return the newer one, unless the other says more; with what both have seen."""
    main = older if older.weight > newer.weight else newer
    other = older if main is newer else newer
    kills: dict[str, Kill] = {}
    for kill in [*main.kills, *other.kills]:
        # Of two by one test the one that says more.
        if kill.test not in kills or (kills[kill.test].after and not kill.after):
            kills[kill.test] = kill
    met = dict.fromkeys([*older.met, *newer.met])
    return replace(main, kills=list(kills.values()), met=list(met))


def _parsed(line: str) -> Attempt | None:
    """Return the attempt of a line; None if it is damaged."""
    try:
        fields = json.loads(line)
        fields.pop("full", None)  # of an older log
        kills = [
            Kill(**{"after": number > 0, **kill}) for number, kill in enumerate(fields.pop("kills"))
        ]
        return Attempt(**fields, kills=kills)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
