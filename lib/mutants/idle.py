# SPDX-License-Identifier: GPL-2.0
"""Which tests notice nothing: who meets which mutant, until each has killed one. Pure logic.

That all tests meet all mutants would take days. A test is asked about those only that break a
promise it shows, and no more once it has killed one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from lib.mutants.catalogue import Mutant
from lib.mutants.order import Test

# Seconds of tests in one run, where nothing is wrong: of a mutant of which nothing is known, and
# of one that is worth more.
_FIRST, _MORE = 8.0, 30.0
# What a run costs beside its tests, and what a lost guest does: the wait for it to say something.
_RUN, _LOSS = 6.0, 25.0


class Idle:
    """The tests that have killed nothing yet. Not for several threads at once."""

    def __init__(
        self, mutants: Iterable[Mutant], tests: Mapping[str, Test], rough: Iterable[str] = ()
    ) -> None:
        """`rough` are the ids of mutants that are expected to take the guest with them."""
        self._tests = tests
        promises = {mutant.id: frozenset(mutant.contract) for mutant in mutants}
        self._left = {
            name: {mutant for mutant, broken in promises.items() if broken & test.contract}
            for name, test in tests.items()
        }
        self.unasked = [name for name, left in self._left.items() if not left]
        self._mutants = list(promises)
        self._losses = Counter(rough)
        self._seen = Counter[str]()  # by how many tests
        self._noticed = Counter[str]()
        self._out: dict[str, list[str]] = {}  # mutant -> the tests that it meets now

    @property
    def busy(self) -> bool:
        """Whether somebody is out."""
        return bool(self._out)

    @property
    def open(self) -> list[str]:
        """Return the tests that have killed nothing, and not met all that they should notice."""
        return [name for name, left in self._left.items() if left]

    def saw(self, mutant: str, *, killed: Iterable[str], met: Iterable[str]) -> None:
        """Take what a run has shown: who killed the mutant, and who met it and saw nothing."""
        for name in killed:
            self._left.pop(name, None)
            self._noticed[mutant] += 1
            self._seen[mutant] += 1
        for name in met:
            self._left.get(name, set()).discard(mutant)
            self._seen[mutant] += 1

    @property
    def idle(self) -> list[str]:
        """Return the tests that have met all mutants that they should notice, and killed none."""
        unasked = set(self.unasked)
        return [name for name, left in self._left.items() if not left and name not in unasked]

    def send(self) -> tuple[str, list[str]] | None:
        """Return a mutant and the tests to meet it, which are out then; None if nobody is free."""
        out = {name for names in self._out.values() for name in names}
        free: dict[str, list[str]] = {mutant: [] for mutant in self._mutants}
        for name in sorted(self._left, key=lambda name: (self._tests[name].duration, name)):
            for mutant in self._left[name] if name not in out else ():
                free[mutant].append(name)
        runs = {
            mutant: self._run_of(mutant, names)
            for mutant, names in free.items()
            if names and mutant not in self._out
        }
        if not runs:
            return None
        best = max(runs, key=lambda mutant: runs[mutant][0])
        self._out[best] = runs[best][1]
        return best, self._out[best]

    def _run_of(self, mutant: str, names: list[str]) -> tuple[float, list[str]]:
        """Return as many of the tests as are a good run, and how many should notice a second."""
        seen = self._seen[mutant]
        most = _MORE if seen else _FIRST
        chosen: list[str] = []
        seconds = 0.0
        for name in names:
            if chosen and seconds + self._tests[name].duration > most:
                break
            seconds += self._tests[name].duration
            chosen.append(name)
        cost = seconds + _RUN + _LOSS * (self._losses[mutant] > 0)
        return (self._noticed[mutant] + 1) / (seen + 3) * len(chosen) / cost, chosen

    def back(self, mutant: str, *, whole: bool) -> None:
        """They are back, not `whole` if the guest was lost."""
        self._losses[mutant] += not whole
        del self._out[mutant]
