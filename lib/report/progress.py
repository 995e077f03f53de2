# SPDX-License-Identifier: GPL-2.0
"""How far a run is, and how long it will still take: pure logic, the time is given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lib.report.model import GOOD, LOST, Result, module_of

# For so long (s) the durations of the last run are believed as much as what is seen of this one.
_BELIEF = 10.0


class Progress:
    """The tests of a run and what became of those that are done."""

    def __init__(self, durations: Mapping[str, float], guests: int) -> None:
        """`durations` are those of the last run (s), as far as they are known."""
        self._durations = durations
        self._guests = guests
        self._usual = sum(durations.values()) / len(durations) if durations else 1.0
        self._tests: set[str] = set()
        self._expected: set[str] = set()
        self._done: set[str] = set()
        self.failed = 0
        self.lost = 0

    def expect(self, modules: Iterable[str]) -> None:
        """These modules will be run: with the tests they had, until theirs are announced."""
        whole = set(modules)
        self._expected = {test for test in self._durations if module_of(test) in whole}

    def announce(self, tests: list[str]) -> None:
        """Add tests that will be run."""
        self._tests |= set(tests)
        known = {module_of(test) for test in tests}
        self._expected = {test for test in self._expected if module_of(test) not in known}

    def add(self, result: Result) -> None:
        """A test is done."""
        self._tests.add(result.id)
        self._done.add(result.id)
        self.failed += result.outcome not in (*GOOD, *LOST, "skipped")
        self.lost += result.outcome in LOST

    @property
    def total(self) -> int:
        """How many tests there are."""
        return len(self._tests | self._expected)

    @property
    def done(self) -> int:
        """How many of them have a result."""
        return len(self._done)

    def left(self, seconds: float) -> float | None:
        """How long it will still take when it has taken `seconds` so far; None: who knows."""
        done, rest = self._work(self._done), self._work((self._tests | self._expected) - self._done)
        if self._durations:
            # Guests work at the pace that their durations promise until this run knows better.
            return rest * (seconds + _BELIEF) / (done + _BELIEF * self._guests)
        return rest * seconds / done if done else None

    def _work(self, tests: set[str]) -> float:
        return sum(self._durations.get(test, self._usual) for test in tests)

    def counts(self) -> str:
        """Return "2 failed, 1 lost", "" if there is nothing of the kind."""
        parts = [(self.failed, "failed"), (self.lost, "lost")]
        return ", ".join(f"{number} {what}" for number, what in parts if number)


def clock(seconds: float | None) -> str:
    """Return a duration as people read it: "42 s", "3:05 min", "1:02 h"."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02} h"
