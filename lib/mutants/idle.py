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

# Of one run, where nothing is wrong: long enough to be worth a guest, and not much more, as who
# has killed one meanwhile need not run.
_SECONDS = 30.0
# A mutant that takes the guest with it costs as much as so many tests.
_LOSS = 9


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
        for name in met:
            self._left.get(name, set()).discard(mutant)

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
        best = max(
            (mutant for mutant in self._mutants if free[mutant] and mutant not in self._out),
            key=lambda mutant: len(free[mutant]) / (1 + _LOSS * self._losses[mutant]),
            default=None,
        )
        if best is None:
            return None
        self._out[best] = self._fitting(free[best])
        return best, self._out[best]

    def _fitting(self, names: list[str]) -> list[str]:
        total = 0.0
        for count, name in enumerate(names):
            total += self._tests[name].duration
            if count and total > _SECONDS:
                return names[:count]
        return names

    def back(self, mutant: str, *, whole: bool) -> None:
        """They are back, not `whole` if the guest was lost."""
        self._losses[mutant] += not whole
        del self._out[mutant]
