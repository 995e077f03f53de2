# SPDX-License-Identifier: GPL-2.0
"""Where a run's time went: pure logic on its results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from lib.report.model import Result

_SLOWEST = 10
_LEAST = 0.01  # s: shorter waits say nothing


@dataclass(frozen=True)
class Timing:
    """What a run of the suite took (s), beside one with a test that does nothing."""

    what: str  # was run
    results: tuple[Result, ...]
    floor: float
    first: float  # until the first result
    whole: float


def lines(timing: Timing) -> Iterable[str]:
    """Return the report."""
    inside = sum(result.duration for result in timing.results)
    yield f"timing: {timing.what}"
    yield f"{timing.floor:8.1f} s  the floor: all that is needed to run a test that does nothing"
    yield f"{timing.first:8.1f} s  to the first result"
    ratio = timing.whole / timing.floor if timing.floor else 0
    yield f"{timing.whole:8.1f} s  to the end of {len(timing.results)} tests: {ratio:.1f} floors"
    yield f"{inside:8.1f} s  of that in tests, set-up and teardown included"
    yield "the slowest tests, and what they wait for:"
    slowest = sorted(timing.results, key=lambda result: -result.duration)[:_SLOWEST]
    for result in slowest:
        yield f"{result.duration:8.2f} s  {result.id}: {_waits(result.waits)}"
    total: Counter[str] = Counter()
    tests: Counter[str] = Counter()
    for result in timing.results:
        total.update(result.waits)
        tests.update(result.waits.keys())
    yield "what all tests together wait for:"
    for what, seconds in total.most_common(_SLOWEST):
        yield f"{seconds:8.2f} s  {what} ({tests[what]} tests)"


def _waits(waits: dict[str, float]) -> str:
    found = [
        f"{seconds:.2f} s {what}" for what, seconds in list(waits.items())[:3] if seconds >= _LEAST
    ]
    return ", ".join(found) or "nothing"
