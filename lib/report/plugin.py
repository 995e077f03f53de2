# SPDX-License-Identifier: GPL-2.0
"""A pytest plugin that writes events to the descriptor in ZCTAP_EVENTS_FD.

docs/architecture.md has the format. Without the variable it does nothing. Used with
`-p lib.report.plugin`; needs nothing of the host's side.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from lib import samples, waits
from lib.report import only

# A detail longer than this (characters) is cut in the middle.
_LIMIT = 64 * 1024
_OUTCOMES = ("failed", "xpassed", "xfailed", "skipped", "passed")


def pytest_configure(config: pytest.Config) -> None:
    """Register the reporter if somebody listens."""
    number = os.environ.get("ZCTAP_EVENTS_FD")
    if number:
        config.pluginmanager.register(Reporter(int(number), config), "zctap-events")


class Reporter:
    """One JSON object a line, each written at once: a crash finds nothing in a buffer."""

    def __init__(self, fd: int, config: pytest.Config) -> None:
        self._fd = fd
        self._config = config
        self._broken: list[pytest.CollectReport] = []
        self._phases: list[pytest.TestReport] = []
        self._contract: dict[str, list[str]] = {}

    def _write(self, **event: Any) -> None:
        rest = json.dumps(event).encode() + b"\n"
        while rest:
            rest = rest[os.write(self._fd, rest) :]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember a module that cannot be imported: it fails, and the others run."""
        if report.failed:
            self._broken.append(report)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Announce the tests; what broke in collection is one of them, and failed."""
        broken = [f"{report.nodeid}::collection" for report in self._broken]
        contract = {}
        for item in session.items:
            marks = item.iter_markers("contract")
            contract[item.nodeid] = [str(clause) for mark in marks for clause in mark.args]
        self._contract |= contract
        tests = broken + [item.nodeid for item in session.items]
        self._write(
            ev="session",
            tests=tests,
            kernel=os.uname().release,
            seed=getattr(session.config.option, "randomly_seed", None),
            contract={name: ids for name, ids in contract.items() if ids},
            **only.stage(session.config, tests),
        )
        for name, report in zip(broken, self._broken, strict=True):
            self._write(ev="start", id=name)
            self._result(name, "failed", 0.0, detail=report.longreprtext)
        self._broken = []

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Announce a test before its set-up: should it bring the kernel down, it is known."""
        self._phases = []
        waits.take()
        samples.take()
        self._write(ev="start", id=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect the reports of set-up, call and teardown."""
        self._phases.append(report)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Make one verdict of the phases: the worst of them."""
        outcomes = [outcome_of(report) for report in self._phases]
        worst = min(outcomes, key=_OUTCOMES.index, default="failed")
        if worst == "passed" and "call" not in [report.when for report in self._phases]:
            worst = "failed"
        details = [detail_of(report) for report in self._phases if report.failed]
        self._result(
            nodeid,
            worst,
            sum(report.duration for report in self._phases),
            reason=next(filter(None, map(reason_of, self._phases)), ""),
            detail="\n".join(details),
        )

    def _result(
        self, nodeid: str, outcome: str, duration: float, reason: str = "", detail: str = ""
    ) -> None:
        if len(detail) > _LIMIT:
            detail = f"{detail[: _LIMIT // 2]}\n[...]\n{detail[-_LIMIT // 2 :]}"
        measured = samples.take()
        self._write(
            ev="result",
            id=nodeid,
            outcome=outcome,
            duration=round(duration, 4),
            reason=reason,
            detail=detail,
            contract=self._contract.get(nodeid, []),
            waits=waits.take(),
            **({"samples": measured} if measured else {}),
        )

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Say that pytest came to its end."""
        self._write(ev="end", exitstatus=int(exitstatus))


def outcome_of(report: pytest.TestReport) -> str:
    """Return one phase's outcome."""
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    return str(report.outcome)


def reason_of(report: pytest.TestReport) -> str:
    """Return why a phase was skipped or expected to fail."""
    if hasattr(report, "wasxfail"):
        return str(report.wasxfail).removeprefix("reason: ")
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return ""


def detail_of(report: pytest.TestReport) -> str:
    """Return a failed phase's traceback and what the test printed until then."""
    parts = [f"failed in {report.when}" if report.when != "call" else "", report.longreprtext]
    parts += [f"--- {title}\n{text.rstrip()}" for title, text in report.sections]
    return "\n".join(part for part in parts if part)
