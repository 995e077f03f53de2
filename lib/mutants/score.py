# SPDX-License-Identifier: GPL-2.0
"""What the runs of all mutants add up to: a table, a score, what each promise has been shown by."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lib.mutants.catalogue import Mutant
from lib.mutants.log import Attempt, Kill
from lib.mutants.order import Test


@dataclass(frozen=True)
class Row:
    """A mutant and what became of it; without an attempt nothing is known."""

    mutant: Mutant
    attempt: Attempt | None = None

    @property
    def state(self) -> str:
        """Say it in a word."""
        if not self.attempt or not self.attempt.weight:
            return "not run"
        if self.attempt.first:
            return "killed"
        return "so far" if self.attempt.so_far else "survived"

    @property
    def by(self) -> Kill | None:
        """The first test that noticed."""
        return next(iter(self.attempt.first), None) if self.attempt else None


@dataclass(frozen=True)
class Score:
    """All rows, the tests with the promises they show, and what is known of who kills none."""

    rows: list[Row]
    tests: Mapping[str, Test]
    idle: Sequence[str] = ()  # have met all mutants that they should notice, and killed none
    unasked: Sequence[str] = ()  # show no promise that a mutant breaks

    def count(self, state: str) -> int:
        """Return how many mutants are in a state."""
        return sum(row.state == state for row in self.rows)

    @property
    def survivors(self) -> list[Row]:
        """The rows of those that lived."""
        return [row for row in self.rows if row.state == "survived"]

    @property
    def summary(self) -> str:
        """Say it in a line."""
        killed = self.count("killed")
        judged = killed + self.count("survived")
        share = f"{100 * killed / judged:.1f} %" if judged else "no score"
        parts = [f"{killed} of {judged} mutants killed ({share})"]
        if self.count("so far"):
            parts.append(f"{self.count('so far')} not yet met by all tests")
        if self.count("not run"):
            parts.append(f"{self.count('not run')} not run")
        return ", ".join(parts)

    def credited(self) -> dict[str, list[str]]:
        """Return id of the contract -> mutants that break it, killed by a test that shows it.

        Who fails after another in a guest does not count.
        """
        found: dict[str, list[str]] = {}
        for row in self.rows:
            if not row.attempt:
                continue
            for clause in row.mutant.contract:
                ids = found.setdefault(clause, [])
                if any(clause in self._shown_by(kill.test) for kill in row.attempt.first):
                    ids.append(row.mutant.id)
        return dict(sorted(found.items(), key=lambda item: _order(item[0])))

    def _shown_by(self, test: str) -> Collection[str]:
        known = self.tests.get(test)
        return known.contract if known else ()

    def uncredited(self) -> list[str]:
        """Return the ids of the contract that no kill counts for, of those that mutants break."""
        return [clause for clause, ids in self.credited().items() if not ids]


def table(rows: Iterable[Row]) -> list[str]:
    """Return lines for people: id, what killed it and how, seconds."""
    cells = [_cells(row) for row in rows]
    widths = [max((len(row[column]) for row in cells), default=0) for column in range(4)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def _cells(row: Row) -> tuple[str, str, str, str]:
    kill = row.by
    killer = f"{short(kill.test)} ({kill.how})" if kill else row.mutant.what
    seconds = f"{row.attempt.seconds:.1f}" if row.attempt else "-"
    return (row.state, row.mutant.id, seconds, killer)


def short(test: str) -> str:
    """Return a test's id without the directory that all are in."""
    return test.removeprefix("selftests/zctap/")


def to_markdown(score: Score) -> str:
    """Return the report as a document."""
    lines = ["# Mutants", "", f"{score.summary}.", ""]
    lines += ["| mutant | breaks | | by | how | s |", "|---|---|---|---|---|---|"]
    for row in score.rows:
        kill = row.by
        by = f"`{short(kill.test)}`" if kill else row.mutant.what
        how = kill.how if kill else ""
        seconds = f"{row.attempt.seconds:.1f}" if row.attempt else ""
        breaks = ", ".join(row.mutant.contract)
        cells = (f"`{row.mutant.id}`", breaks, row.state, _escaped(by), how, seconds)
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "## The contract", "", "| id | killed by a test that shows it |", "|---|---|"]
    for clause, ids in score.credited().items():
        lines.append(f"| {clause} | {', '.join(f'`{name}`' for name in ids) or '**none**'} |")
    if score.idle:
        lines += ["", "## Tests that kill no mutant", ""]
        lines += [f"- `{short(test)}`" for test in score.idle]
    if score.unasked:
        lines += ["", "## Tests that show no promise which a mutant breaks", ""]
        lines += [f"- `{short(test)}`" for test in score.unasked]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _order(clause: str) -> tuple[str, int]:
    area, _, number = clause.partition("-")
    return area, int(number) if number.isdigit() else 0


def to_json(score: Score) -> dict[str, Any]:
    """Return the report as JSON has it."""
    return {
        "killed": score.count("killed"),
        "survived": score.count("survived"),
        "not_run": score.count("not run"),
        "mutants": [
            {
                "id": row.mutant.id,
                "contract": list(row.mutant.contract),
                "what": row.mutant.what,
                "state": row.state,
                "kills": [
                    {"test": kill.test, "how": kill.how, "why": kill.why}
                    for kill in (row.attempt.kills if row.attempt else [])
                ],
                "seconds": round(row.attempt.seconds, 1) if row.attempt else None,
            }
            for row in score.rows
        ],
        "contract": score.credited(),
        "uncredited": score.uncredited(),
        "idle_tests": list(score.idle),
        "unasked_tests": list(score.unasked),
    }
