# SPDX-License-Identifier: GPL-2.0
"""Verdicts on disk: a run replaces those of the tests that ran."""

from pathlib import Path

import pytest

from lib.report.model import Result
from lib.report.verdicts import Verdict, load, merged, store

SOURCES = {"m.py": "hash"}


def run(old: dict[str, Verdict], *results: Result) -> dict[str, Verdict]:
    return merged(old, results, SOURCES, when="now", kernel="6.1")


def test_only_tests_that_ran_are_replaced():
    first = run({}, Result("m.py::a", "passed"), Result("m.py::b", "failed"))
    second = run(
        first,
        Result("m.py::a", "not run"),
        Result("m.py::b", "skipped", 0.5, "why"),
        Result("m.py::c", "crashed"),
        Result("m.py::d", "interrupted"),
    )
    assert second == {
        "m.py::a": first["m.py::a"],
        "m.py::b": Verdict("skipped", "now", 0.5, "why", "hash", "6.1"),
        "m.py::c": Verdict("crashed", "now", 0.0, "", "hash", "6.1"),
    }


def test_other_people_s_tests_and_removed_modules_are_left_out():
    old = {"gone.py::a": Verdict("passed", "then", 1.0, "", "hash", "6.1")}
    assert run(old, Result("outside/x.py::a", "passed"), Result("session", "crashed")) == {}


def test_what_was_stored_is_loaded(tmp_path: Path):
    tests = run({}, Result("m.py::a", "passed", 0.25))
    store(tmp_path / "x.json", tests)
    assert load(tmp_path / "x.json") == tests
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"tests": {"a": {"outcome": 1}}}', "\0"])
def test_a_damaged_file_holds_no_verdicts(tmp_path: Path, content: str):
    path = tmp_path / "x.json"
    path.write_text(content)
    assert load(path) == {}
    assert load(tmp_path / "none.json") == {}
