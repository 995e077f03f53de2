# SPDX-License-Identifier: GPL-2.0
"""Two runs are told apart: what is worse makes the exit status, the rest is said."""

import pytest

from lib.report.compare import Comparison, compare, lines
from lib.report.model import Result, Run


def run_of(pending: tuple[str, ...] = (), /, **outcomes: str | float) -> Run:
    """Tests by name: an outcome, or the duration of a good one."""
    results = [
        Result(f"m.py::{name}", "passed", what)
        if isinstance(what, float)
        else Result(f"m.py::{name}", what, reason="why")
        for name, what in outcomes.items()
    ]
    run = Run(tests=[result.id for result in results] + [f"m.py::{name}" for name in pending])
    run.take(results)
    return run


@pytest.mark.parametrize(
    ("old", "new", "where", "worse"),
    [
        ("passed", "failed", "failing", True),
        ("skipped", "failed", "failing", True),
        ("xfailed", "failed", "failing", True),
        ("passed", "panic", "lost", True),
        ("failed", "panic", "lost", True),
        ("passed", "not run", "lost", True),
        ("passed", "interrupted", "lost", True),
        ("failed", "failed", "still", False),
        ("panic", "oops", "still", False),
        ("panic", "failed", "still", False),
        ("failed", "passed", "fixed", False),
        ("panic", "passed", "fixed", False),
        ("not run", "xfailed", "fixed", False),
        ("passed", "skipped", "skipped", False),
        ("failed", "skipped", "skipped", False),
        ("passed", "xpassed", None, False),
        ("skipped", "passed", None, False),
        ("skipped", "skipped", None, False),
    ],
)
def test_change_has_a_name(old: str, new: str, where: str | None, worse: bool):
    found = compare(run_of(x=old), run_of(x=new))
    lists = {name: entries for name, entries in vars(found).items() if entries}
    assert list(lists) == ([where] if where else [])
    assert found.worse is worse


def test_test_without_a_result_is_lost():
    assert compare(run_of(x="passed"), run_of(("x",))).lost
    assert compare(run_of(("x",)), run_of(x="passed")).fixed


def test_missing_and_new_tests_are_told_and_only_bad_news_counts():
    found = compare(run_of(a="passed", b="failed"), run_of(c="passed"))
    assert found.missing == ["m.py::a: passed", "m.py::b: failed"]
    assert found.new == ["m.py::c: passed"]
    assert not found.worse
    assert compare(run_of(a="passed"), run_of(a="passed", c="failed")).failing
    assert compare(run_of(a="passed"), run_of(a="passed", c="oops")).lost


def test_guest_that_was_lost_for_no_test_is_not_missed():
    old = run_of(a="passed")
    old.tests.append("guest-1")
    old.take([Result("guest-1", "crashed")])
    found = compare(old, run_of(a="passed"))
    assert (found.fixed, found.missing) == (["guest-1: crashed"], [])


@pytest.mark.parametrize(
    ("old", "new", "slower"),
    [
        (1.0, 1.6, True),
        (1.0, 1.5, False),
        (0.01, 0.4, False),
        (10.0, 14.0, False),
        (0.0, 0.6, True),
    ],
)
def test_slower_is_much_slower(old: float, new: float, slower: bool):
    assert bool(compare(run_of(x=old), run_of(x=new)).slower) is slower


def test_complaints_count_if_they_are_new():
    old, new = run_of(x="passed"), run_of(x="passed")
    new.complaints = ["not an event"]
    assert compare(old, new).worse
    assert not compare(new, new).worse


def test_report_has_both_runs_and_every_list():
    old = run_of(a="passed", b="failed", c=1.0)
    old.kernel, old.seed, old.facts = "6.1", 7, {"profile": "plain"}
    new = run_of(a="panic", b="passed", c=3.0)
    text = list(lines(old, new, compare(old, new)))
    assert text[0].startswith("old: plain, kernel 6.1, seed 7, 2 passed, 1 failed")
    assert text[2:] == [
        "newly lost, with the guest or without a verdict (1):",
        "  m.py::a: passed -> panic",
        "      why",
        "fixed (1):",
        "  m.py::b: failed -> passed",
        "slower: more than 1.5 times and 0.5 s (1):",
        "  m.py::c: 1.00 -> 3.00 s",
    ]


def test_long_lists_are_cut_where_nothing_is_wrong():
    many = run_of(**{f"t{number}": "passed" for number in range(99)})
    text = list(lines(many, Run(), compare(many, Run())))
    assert (len(text), text[-1]) == (24, "  ... and 79 more")


def test_same_runs_have_no_difference():
    run = run_of(x="passed", y="skipped")
    assert compare(run, run) == Comparison()
    assert list(lines(run, run, Comparison()))[-1] == "no difference"
