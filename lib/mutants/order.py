# SPDX-License-Identifier: GPL-2.0
"""Which tests to run first against a mutant: those that are likely to notice. Pure logic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lib.mutants.catalogue import Mutant

# The first stages: so many tests at most, that take so long together (s) where nothing is wrong.
_STAGES = ((8, 3.0), (40, 15.0))


@dataclass(frozen=True)
class Test:
    """What is known of a test from the kernel without a mutant: seconds, ids of the contract."""

    __test__ = False

    duration: float
    contract: frozenset[str] = frozenset()


@dataclass
class Learned:
    """What earlier runs have shown: mutant -> tests that killed it, the last one first."""

    killers: dict[str, list[str]] = field(default_factory=dict)

    def kills_of(self, contract: Mapping[str, tuple[str, ...]]) -> dict[tuple[str, str], int]:
        """Return (test, id of the contract) -> how many mutants that break it the test killed."""
        found: dict[tuple[str, str], int] = {}
        for mutant, tests in self.killers.items():
            for test in tests:
                for clause in contract.get(mutant, ()):
                    found[test, clause] = found.get((test, clause), 0) + 1
        return found


def stages(
    mutant: Mutant,
    tests: Mapping[str, Test],
    learned: Learned,
    kills: Mapping[tuple[str, str], int],
) -> tuple[list[list[str]], list[str]]:
    """Return the tests that are likely to notice a mutant, in stages, and all others.

    Likely are those that killed it before, then those that show a promise that it breaks: the
    more of them the better, and the fewer others. `kills` are learned.kills_of().
    """
    broken = frozenset(mutant.contract or mutant.near)
    before = [test for test in learned.killers.get(mutant.id, []) if test in tests]

    def rank(name: str) -> tuple[float, ...]:
        test = tests[name]
        shown = test.contract & broken
        successes = sum(kills.get((name, clause), 0) for clause in shown)
        return (-len(shown), -successes, len(test.contract), test.duration)

    related = [name for name, test in tests.items() if test.contract & broken]
    likely = list(dict.fromkeys([*before, *sorted(related, key=lambda name: (rank(name), name))]))
    found: list[list[str]] = []
    for most, seconds in _STAGES:
        stage, likely = _cut(likely, tests, most, seconds)
        found.append(stage)
    chosen = {name for stage in found for name in stage} | set(likely)
    others = [name for name in tests if name not in chosen]
    return [stage for stage in [*found, likely] if stage], others


def _cut(
    names: list[str], tests: Mapping[str, Test], most: int, seconds: float
) -> tuple[list[str], list[str]]:
    """Return the first of `names`, as many as fit, one at least, and the rest."""
    total = 0.0
    for count, name in enumerate(names):
        total += tests[name].duration
        if count and (count == most or total > seconds):
            return names[:count], names[count:]
    return names, []
