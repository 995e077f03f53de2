# SPDX-License-Identifier: GPL-2.0
"""--only in a real pytest: modules, tests, and stages of collection."""

from pathlib import Path
from typing import Any

import pytest

from tests.report import inner

MODULE = """
import pytest

def test_one(once): pass
def test_two(once): pass
"""
CONFTEST = """
import pytest

@pytest.fixture(scope="session")
def once():
    with open("setups", "a") as file:
        file.write("once\\n")
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Some modules like each other, one without tests, one that cannot be imported."""
    for name in "abcd":
        (tmp_path / f"test_{name}.py").write_text(MODULE)
    (tmp_path / "test_empty.py").write_text("")
    (tmp_path / "test_broken.py").write_text("import nothing_like_this")
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def events_of(folder: Path, only: str) -> tuple[int, list[inner.Event]]:
    """Run pytest on what `only` lists; return its exit status and events."""
    (folder / "only").write_text(only)
    return inner.run(folder, "-p", "lib.report.only", "--only", "only")


def told(events: list[inner.Event], kind: str, field: str) -> list[Any]:
    return [event[field] for event in events if event["ev"] == kind]


def test_modules_and_tests_are_chosen(suite: Path):
    status, events = events_of(suite, "test_a.py\ntest_c.py::test_two")
    assert status == 0
    chosen = ["test_a.py::test_one", "test_a.py::test_two", "test_c.py::test_two"]
    assert told(events, "session", "tests") == [chosen]
    assert told(events, "result", "id") == chosen


def test_tests_run_in_the_order_of_the_list(suite: Path):
    chosen = ["test_d.py::test_two", "test_a.py::test_one", "test_d.py::test_one"]
    status, events = events_of(suite, "\n".join(chosen))
    assert status == 0
    assert told(events, "result", "id") == chosen


def test_a_stage_is_announced_before_the_last_test_of_the_one_above(suite: Path):
    status, events = events_of(suite, "test_b.py\n\ntest_a.py\ntest_c.py::test_two\n\ntest_d.py")
    assert status == 0
    assert told(events, "session", "left") == [
        ["test_a.py", "test_c.py::test_two", "test_d.py"],
        ["test_d.py"],
        [],
    ]
    assert told(events, "result", "id") == [
        "test_b.py::test_one",
        "test_b.py::test_two",
        "test_a.py::test_one",
        "test_a.py::test_two",
        "test_c.py::test_two",
        "test_d.py::test_one",
        "test_d.py::test_two",
    ]
    kinds = [event["ev"] for event in events]
    assert kinds[:7] == ["session", "start", "result", "session", "start", "result", "start"]


def test_what_the_session_has_is_set_up_once_for_all_stages(suite: Path):
    events_of(suite, "test_a.py\n\ntest_b.py\n\ntest_c.py")
    assert (suite / "setups").read_text() == "once\n"


@pytest.mark.parametrize("order", ["head", "tail", "alone"])
def test_modules_without_tests_are_told(suite: Path, order: str):
    only = {"head": "test_empty.py\n\ntest_a.py", "tail": "test_a.py\n\ntest_empty.py"}
    status, events = events_of(suite, only.get(order, "test_empty.py\n\ntest_empty.py"))
    assert ["test_empty.py"] in told(events, "session", "empty")
    assert len(told(events, "result", "id")) == (0 if order == "alone" else 2)
    assert status == (5 if order == "alone" else 0)


@pytest.mark.parametrize("broken_first", [False, True])
def test_a_module_that_cannot_be_imported_fails_in_its_stage(suite: Path, broken_first: bool):
    stages = ["test_broken.py", "test_a.py"]
    status, events = events_of(suite, "\n\n".join(stages if broken_first else stages[::-1]))
    assert status == 1
    outcomes = dict(
        zip(told(events, "result", "id"), told(events, "result", "outcome"), strict=True)
    )
    assert outcomes == {
        "test_broken.py::collection": "failed",
        "test_a.py::test_one": "passed",
        "test_a.py::test_two": "passed",
    }
