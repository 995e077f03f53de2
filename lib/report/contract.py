# SPDX-License-Identifier: GPL-2.0
"""Which promises of the contract are shown, by which tests, with which verdicts."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from lib.report.model import GOOD, Run
from lib.report.verdicts import DID_NOT_RUN, Verdict

# "- **REG-1** [RFC] text", and the indented lines that follow.
_ENTRY = re.compile(r"^- \*\*([A-Z]+-\d+)\*\* ((?:\[\w+\] )+)(.*(?:\n  .*)*)", flags=re.MULTILINE)
_SENTENCE = re.compile(r"(.+?\.)(?= [A-Z(]|$)")
# Of one posting only: what the suite does not insist on.
_OPTIONAL = {"v1", "v3"}
_SHORT = 140


@dataclass(frozen=True)
class Clause:
    """An entry of the contract."""

    id: str
    tags: tuple[str, ...]
    text: str

    @property
    def short(self) -> str:
        """The first sentence, or as much of it as fits a table."""
        found = _SENTENCE.match(self.text)
        sentence = found[1] if found else self.text
        return sentence if len(sentence) <= _SHORT else sentence[: _SHORT - 3].rstrip() + "..."


def clauses(document: str) -> list[Clause]:
    """Return the entries of docs/contract.md, in its order."""
    return [
        Clause(name, tuple(re.findall(r"\w+", tags)), " ".join(text.split()))
        for name, tags, text in _ENTRY.findall(document)
    ]


@dataclass(frozen=True)
class Witness:
    """A test that names a clause; `verdict` is its last one, if there is any."""

    id: str
    verdict: Verdict | None = None
    stale: bool = False  # the module has changed since

    @property
    def state(self) -> str:
        """The outcome, "stale", or "not run"."""
        if self.verdict is None:
            return "not run"
        return "stale" if self.stale else self.verdict.outcome


@dataclass(frozen=True)
class Row:
    """A clause and the tests that name it."""

    clause: Clause
    tests: tuple[Witness, ...]

    @property
    def state(self) -> str:
        """How the clause stands: "failed" if any test is bad, "passed" if one is good.

        Otherwise "stale", "skipped" or "not run", or "untested" if no test names it.
        """
        states = {test.state for test in self.tests}
        if states - {*GOOD, "skipped", "stale", "not run"}:
            return "failed"
        if states & set(GOOD):
            return "passed"
        return next((s for s in ("stale", "skipped", "not run") if s in states), "untested")

    @property
    def good(self) -> bool:
        """Whether this is as it should be."""
        optional = set(self.clause.tags) <= _OPTIONAL
        return self.state == "passed" or (optional and self.state == "skipped")


@dataclass(frozen=True)
class Report:
    """The whole contract, on one kernel."""

    rows: tuple[Row, ...]
    profile: str
    kernel: str  # for people; "" if nothing has been run on it

    @property
    def good(self) -> bool:
        """Whether every promise is shown."""
        return bool(self.rows) and all(row.good for row in self.rows)

    def count(self) -> dict[str, int]:
        """How many clauses are in which state."""
        return dict(Counter(row.state for row in self.rows).most_common())


def report(
    entries: list[Clause],
    named: dict[str, list[str]],
    verdicts: dict[str, Verdict],
    sources: dict[str, str],
    *,
    profile: str,
    kernel: str,
) -> Report:
    """Put together what is known.

    `named` has the tests and the ids that each names, `verdicts` their last results, `sources`
    the hash of each module as it is now.
    """
    rows = []
    for clause in entries:
        tests = []
        for test, ids in sorted(named.items()):
            if clause.id in ids:
                found = verdicts.get(test)
                module = test.split("::", 1)[0]
                stale = found is not None and found.source != sources.get(module)
                tests.append(Witness(test, found, stale))
        rows.append(Row(clause, tuple(tests)))
    return Report(tuple(rows), profile, kernel)


def of_run(entries: list[Clause], run: Run) -> Report:
    """Return what one run shows, whatever its tests said before."""
    when, profile = run.facts.get("started", ""), run.facts.get("profile", "")
    verdicts = {
        test: Verdict(result.outcome, when, result.duration, result.reason, "", run.kernel)
        for test, result in run.results.items()
        if result.outcome not in DID_NOT_RUN
    }
    sources = {test.split("::", 1)[0]: "" for test in run.tests}
    return report(entries, run.contract, verdicts, sources, profile=profile, kernel=run.kernel)


def to_json(found: Report) -> dict[str, Any]:
    """Return the report for machines."""
    return {
        "profile": found.profile,
        "kernel": found.kernel,
        "good": found.good,
        "count": found.count(),
        "clauses": [
            {
                "id": row.clause.id,
                "tags": row.clause.tags,
                "text": row.clause.text,
                "state": row.state,
                "good": row.good,
                "tests": [
                    {
                        "id": test.id,
                        "state": test.state,
                        "stale": test.stale,
                        "verdict": asdict(test.verdict) if test.verdict else None,
                    }
                    for test in row.tests
                ],
            }
            for row in found.rows
        ],
    }


def to_markdown(found: Report) -> str:
    """Return the report for people: a summary, a table, and what is not as it should be."""
    counted = ", ".join(f"{number} {state}" for state, number in found.count().items())
    times = sorted({t.verdict.when for row in found.rows for t in row.tests if t.verdict})
    lines = ["# Contract", "", f"{len(found.rows)} promises: {counted or 'none'}.", ""]
    where = f"kernel {found.kernel}" if found.kernel else "no run of this kernel is known"
    lines += [f"Profile {found.profile}, {where}."]
    if times:
        lines += [f"Verdicts from {times[0]} to {times[-1]}."]
    lines += ["", "| id | tag | promise | state | tests |", "|---|---|---|---|---|"]
    for row in found.rows:
        tags, short = " ".join(row.clause.tags), _cell(row.clause.short)
        tests = "<br>".join(map(_cell, by_module(row)))
        state = row.state if row.good else f"**{row.state}**"
        lines.append(f"| {row.clause.id} | {tags} | {short} | {state} | {tests} |")
    return "\n".join(lines) + "\n"


def by_module(row: Row) -> list[str]:
    """Return a line for each module: its tests, by function, and what is special about them."""
    counted = Counter((*test.id.split("[", 1)[0].split("::", 1), test.state) for test in row.tests)
    lines: dict[str, list[str]] = {}
    for (module, name, state), number in counted.items():
        text = f"{name} x{number}" if number > 1 else name
        if state not in (row.state, *GOOD):
            text += f" **({state})**"
        lines.setdefault(module.rpartition("/")[2], []).append(text)
    return [f"{module}: {', '.join(names)}" for module, names in lines.items()]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
