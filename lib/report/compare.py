# SPDX-License-Identifier: GPL-2.0
"""What has changed from one run to another: pure logic."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from lib.report.gist import gist
from lib.report.model import GOOD, LOST, Result, Run

# Slower by less says nothing: tests wait for timers, and machines are busy.
RATIO, LEAST = 1.5, 0.5  # of the old duration; s
_SHOWN = 20  # of lists that a selection of tests makes long


@dataclass
class Comparison:
    """Tests by what has changed, in the order of the new run."""

    # No verdict, or none but the loss of its guest, where there was one.
    lost: list[str] = field(default_factory=list)
    failing: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    fixed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    slower: list[str] = field(default_factory=list)
    still: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)

    @property
    def worse(self) -> bool:
        """Whether something fails or is lost that was not."""
        return bool(self.lost or self.failing or self.complaints)


def _result(run: Run, test: str) -> Result:
    return run.results.get(test) or Result(test, "not run", reason="the run has no result of it")


def _kind(outcome: str) -> str:
    if outcome in LOST:
        return "lost"
    return "good" if outcome in GOOD else outcome  # that is "failed" or "skipped"


def compare(old: Run, new: Run) -> Comparison:
    """Return what has changed."""
    found = Comparison()
    there = set(old.tests)
    for test in new.tests:
        now = _result(new, test)
        before = _result(old, test) if test in there else None
        kind, was = _kind(now.outcome), _kind(before.outcome) if before else "absent"
        if kind in ("lost", "failed"):
            # From a failure to a panic it has become worse, the other way round it has not.
            if was == kind or was == "lost":
                found.still.append(_both(before, now))
            else:
                (found.lost if kind == "lost" else found.failing).append(_why(before, now))
        elif before is None:
            found.new.append(f"{test}: {now.outcome}")
        elif kind == "skipped":
            if was != "skipped":
                found.skipped.append(f"{_both(before, now)}: {now.reason}")
        elif was in ("failed", "lost"):
            found.fixed.append(_both(before, now))
        if kind == was == "good" and before and _slower(before.duration, now.duration):
            found.slower.append(f"{test}: {before.duration:.2f} -> {now.duration:.2f} s")
    here = set(new.tests)
    for test in old.tests:
        if test in here:
            continue
        # A guest that was lost before there was a test stands for itself: that is over.
        missing = "::" in test
        (found.missing if missing else found.fixed).append(f"{test}: {_result(old, test).outcome}")
    known = set(old.complaints)
    found.complaints += [complaint for complaint in new.complaints if complaint not in known]
    return found


def _slower(before: float, now: float) -> bool:
    return now > RATIO * before and now - before > LEAST


def _both(before: Result | None, now: Result) -> str:
    was = before.outcome if before else "absent"
    return f"{now.id}: {was} -> {now.outcome}" if was != now.outcome else f"{now.id}: {was}"


def _why(before: Result | None, now: Result) -> str:
    return "\n".join([_both(before, now), *(f"    {line}" for line in gist(now))])


def lines(old: Run, new: Run, found: Comparison) -> Iterable[str]:
    """Return the report."""
    for name, run in (("old", old), ("new", new)):
        facts = [run.facts.get("profile"), run.facts.get("source"), run.facts.get("started")]
        facts.append(f"kernel {run.kernel}" if run.kernel else "kernel unknown")
        facts.append("seed unknown" if run.seed is None else f"seed {run.seed}")
        facts.append(run.summary())
        yield f"{name}: {', '.join(filter(None, facts))}"
    for title, tests, most in (
        ("newly lost, with the guest or without a verdict", found.lost, None),
        ("newly failing", found.failing, None),
        ("event channel", found.complaints, _SHOWN),
        ("fixed", found.fixed, None),
        ("newly skipped", found.skipped, _SHOWN),
        (f"slower: more than {RATIO} times and {LEAST} s", found.slower, None),
        ("still bad", found.still, None),
        ("missing: only in the old run", found.missing, _SHOWN),
        ("only in the new run, and not bad", found.new, _SHOWN),
    ):
        if tests:
            yield f"{title} ({len(tests)}):"
            for entry in tests[:most]:
                yield from (f"  {line}" for line in entry.splitlines())
            if most and len(tests) > most:
                yield f"  ... and {len(tests) - most} more"
    if found == Comparison():
        yield "no difference"
