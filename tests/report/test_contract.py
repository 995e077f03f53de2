# SPDX-License-Identifier: GPL-2.0
"""The report on the contract: what counts as shown, and what does not."""

import pytest

from lib.report.contract import Clause, Report, Row, Witness, clauses, report, to_json, to_markdown
from lib.report.verdicts import Verdict

DOCUMENT = """
- **REG-1** [RFC] `arg` is NULL,
  or `nr_args` is not 1: `EINVAL`. And more
  of it.
- **FILL-6** [v3] A CQE says so. (RFC: a | b.)

Text that is no entry, of **REG-1**.
- **DEV-1** no tag
- **REG-2** [RFC] [v1] Both.
"""


def verdict(outcome: str, source: str = "s") -> Verdict:
    return Verdict(outcome, "2026-01-02 03:04:05", 0.1, "", source, "6.1")


def test_entries_of_a_document():
    found = clauses(DOCUMENT)
    assert [(clause.id, clause.tags) for clause in found] == [
        ("REG-1", ("RFC",)),
        ("FILL-6", ("v3",)),
        ("REG-2", ("RFC", "v1")),
    ]
    assert found[0].short == "`arg` is NULL, or `nr_args` is not 1: `EINVAL`."
    assert found[0].text.endswith("And more of it.")


def test_long_promises_are_cut():
    assert len(Clause("A-1", (), "word " * 100).short) <= 140


@pytest.mark.parametrize(
    ("states", "state", "good"),
    [
        ([], "untested", False),
        (["passed"], "passed", True),
        (["passed", "skipped", "not run", "stale"], "passed", True),
        (["passed", "failed"], "failed", False),
        (["crashed", "skipped"], "failed", False),
        (["stale", "skipped"], "stale", False),
        (["skipped"], "skipped", False),
        (["not run"], "not run", False),
        (["xfailed"], "passed", True),
    ],
)
def test_state_of_a_clause(states: list[str], state: str, good: bool):
    tests = [
        Witness(
            "m::t",
            None if s == "not run" else verdict("passed" if s == "stale" else s),
            s == "stale",
        )
        for s in states
    ]
    row = Row(Clause("A-1", ("RFC",), "x"), tuple(tests))
    assert (row.state, row.good) == (state, good)


def test_what_only_one_posting_promises_may_be_skipped():
    skipped = (Witness("m::t", verdict("skipped")),)
    assert Row(Clause("A-1", ("v3",), "x"), skipped).good
    assert not Row(Clause("A-1", ("v3", "RFC"), "x"), skipped).good
    assert not Row(Clause("A-1", ("v3",), "x"), ()).good


def made() -> Report:
    return report(
        clauses(DOCUMENT),
        {"d/m.py::b[1]": ["REG-1", "REG-2"], "d/m.py::b[2]": ["REG-1"], "d/n.py::a": ["REG-1"]},
        {
            "d/m.py::b[1]": verdict("passed"),
            "d/m.py::b[2]": verdict("passed"),
            "d/n.py::a": verdict("failed", "before"),
        },
        {"d/m.py": "s", "d/n.py": "now"},
        profile="plain",
        kernel="6.1",
    )


def test_rows_follow_the_document_and_changed_modules_are_stale():
    first, second, third = made().rows
    assert [(test.id, test.state) for test in first.tests] == [
        ("d/m.py::b[1]", "passed"),
        ("d/m.py::b[2]", "passed"),
        ("d/n.py::a", "stale"),
    ]
    assert (second.state, third.state) == ("untested", "passed")
    assert not made().good


def test_nothing_is_not_good():
    assert not Report((), "plain", "").good


def test_markdown_has_a_row_for_each_clause():
    lines = to_markdown(made()).splitlines()
    assert "3 promises: 2 passed, 1 untested." in lines
    assert "Verdicts from 2026-01-02 03:04:05 to 2026-01-02 03:04:05." in lines
    rows = [line for line in lines if line.startswith(("| REG", "| FILL"))]
    assert rows == [
        "| REG-1 | RFC | `arg` is NULL, or `nr_args` is not 1: `EINVAL`. | passed "
        "| m.py: b x2<br>n.py: a **(stale)** |",
        "| FILL-6 | v3 | A CQE says so. | **untested** |  |",
        "| REG-2 | RFC v1 | Both. | passed | m.py: b |",
    ]


def test_json_has_all_there_is():
    found = to_json(made())
    assert (found["good"], found["count"]) == (False, {"passed": 2, "untested": 1})
    test = found["clauses"][0]["tests"][2]
    assert (test["state"], test["verdict"]["outcome"]) == ("stale", "failed")
