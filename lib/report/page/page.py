# SPDX-License-Identifier: GPL-2.0
"""What is on the page, put together for its template (page.html)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from lib.report import contract
from lib.report.gist import gist
from lib.report.model import GOOD, LOST, REPORTED, Result, Run
from lib.report.page import plot
from lib.report.page.template import environment
from lib.report.progress import clock

_SLOWEST = 15
_MODULES = 20  # with a bar at first sight
_STATUS = {
    0: "All good",
    1: "Not good",
    4: "Everything was skipped",
}


@dataclass(frozen=True)
class Test:
    """A test; `anchor` is its name within the page."""

    anchor: str
    result: Result
    gist: tuple[str, ...]
    plots: tuple[plot.Plot, ...]

    @property
    def look(self) -> str:
        """Which of the page's colours it has: good, skipped, failed or lost."""
        return look(self.result.outcome)

    @property
    def time(self) -> str:
        """How long it took, "" if that is not known."""
        return "" if self.look == "lost" else f"{self.result.duration:.2f} s"

    @property
    def told(self) -> bool:
        """Whether there are details that people came for."""
        return self.look in ("failed", "lost") and self.result.outcome != "not run"


@dataclass(frozen=True)
class Module:
    """A module and its tests."""

    name: str
    tests: tuple[Test, ...]

    @property
    def seconds(self) -> float:
        """How long its tests took."""
        return sum(test.result.duration for test in self.tests)

    @property
    def counts(self) -> list[tuple[str, int]]:
        """How many tests have which outcome."""
        return counts(test.result for test in self.tests)

    @property
    def told(self) -> list[Test]:
        """Those that have to be looked at."""
        return [test for test in self.tests if test.told]

    @property
    def others(self) -> list[Test]:
        """The rest."""
        return [test for test in self.tests if not test.told]


def look(outcome: str) -> str:
    """Return the class of an outcome, or of a state of the contract."""
    if outcome in GOOD:
        return "good"
    if outcome in LOST and outcome != "not run":
        return "lost"
    return "failed" if outcome == "failed" else "skipped"


def counts(results: Iterable[Result]) -> list[tuple[str, int]]:
    """Return (outcome, how many), in the order of the model's tables."""
    found = Counter(result.outcome for result in results)
    return [(name, found[name]) for name in (*REPORTED, *LOST) if found[name]]


def render(run: Run, shown: contract.Report, *, seconds: float, config: str = "") -> str:
    """Return the page of a run, which took `seconds` and shows `shown` of the contract."""
    tests = _tests(run)
    grouped: dict[str, list[Test]] = {}
    for test in tests:
        grouped.setdefault(test.result.module, []).append(test)
    modules = [Module(name, tuple(found)) for name, found in grouped.items()]
    slowest = sorted(tests, key=lambda test: -test.result.duration)[:_SLOWEST]
    named = [row for row in shown.rows if row.tests]
    status = run.exit_status()
    return (
        environment()
        .get_template("page.html")
        .render(
            run=run,
            status=status,
            verdict=_STATUS[status],
            counts=counts(run.results.values()),
            facts=_facts(run, seconds),
            config=config,
            modules=sorted(modules, key=lambda module: not module.told),
            by_time=sorted(modules, key=lambda module: -module.seconds),
            at_first=_MODULES,
            slowest=[test for test in slowest if test.result.duration],
            plotted=[test for test in tests if test.plots],
            anchors={test.result.id: test.anchor for test in tests},
            rows=named,
            states=Counter(row.state for row in named),
            unnamed=[row.clause.id for row in shown.rows if not row.tests],
            by_module=contract.by_module,
            look=look,
            clock=clock,
            plot=plot,
        )
    )


def _tests(run: Run) -> list[Test]:
    results = [run.results.get(test, Result(test, "not run")) for test in run.tests]
    return [
        Test(f"t{number}", result, tuple(gist(result)), tuple(plot.plot(s) for s in result.samples))
        for number, result in enumerate(results, 1)
    ]


def _facts(run: Run, seconds: float) -> dict[str, str]:
    """Return what the page says of the environment, in its order."""
    known = {name: value for name, value in run.facts.items() if value}
    known |= {"kernel": run.kernel, "seed": "" if run.seed is None else str(run.seed)}
    known["wall time"] = f"{seconds:.1f} s" if seconds < 60 else clock(seconds)
    order = ["command", "started", "wall time", "kernel", "source", "profile", "seed"]
    names = [*order, *(name for name in known if name not in order)]
    return {name: known[name] for name in names if known.get(name)}
