# SPDX-License-Identifier: GPL-2.0
"""The plugin in a real pytest, on tests of all outcomes."""

from pathlib import Path

import pytest

from tests.report import inner

SUITE = """
import os
import pytest

@pytest.mark.contract("REG-1", "REG-2")
def test_passed(): pass
def test_failed(): print("printed"); assert 1 == 2, "why"
@pytest.mark.skip(reason="no zctap")
def test_skipped(): pass
@pytest.mark.xfail(reason="known")
def test_xfailed(): assert 0
@pytest.mark.xfail(strict=False)
def test_xpassed(): pass
@pytest.fixture
def bad_setup(): raise OSError("set-up")
def test_setup(bad_setup): pass
@pytest.fixture
def bad_teardown():
    yield
    raise OSError("teardown")
def test_teardown(bad_teardown): pass
"""


def events_of(folder: Path, *arguments: str) -> list[inner.Event]:
    """Run pytest on a folder and return what the plugin writes."""
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = contract\n")
    return inner.run(folder, *arguments)[1]


@pytest.fixture
def events(tmp_path: Path) -> list[inner.Event]:
    """The events of a module with all outcomes."""
    (tmp_path / "test_all.py").write_text(SUITE)
    return events_of(tmp_path)


def results(events: list[inner.Event]) -> dict[str, inner.Event]:
    return {e["id"].split("::")[-1]: e for e in events if e["ev"] == "result"}


def test_outcomes(events: list[inner.Event]):
    assert {name: event["outcome"] for name, event in results(events).items()} == {
        "test_passed": "passed",
        "test_failed": "failed",
        "test_skipped": "skipped",
        "test_xfailed": "xfailed",
        "test_xpassed": "xpassed",
        "test_setup": "failed",
        "test_teardown": "failed",
    }


def test_session_comes_first_and_end_last(events: list[inner.Event]):
    assert events[0]["ev"] == "session"
    assert len(events[0]["tests"]) == 7
    assert events[-1] == {"ev": "end", "exitstatus": 1}


def test_start_comes_before_each_result(events: list[inner.Event]):
    pairs = [(e["ev"], e["id"]) for e in events[1:-1]]
    assert [kind for kind, _ in pairs] == ["start", "result"] * 7
    assert all(pairs[i][1] == pairs[i + 1][1] for i in range(0, len(pairs), 2))


def test_fields(events: list[inner.Event]):
    found = results(events)
    assert found["test_passed"]["contract"] == ["REG-1", "REG-2"]
    assert found["test_skipped"]["reason"] == "no zctap"
    assert found["test_xfailed"]["reason"] == "known"
    assert "assert 1 == 2" in found["test_failed"]["detail"]
    assert "printed" in found["test_failed"]["detail"]
    assert "failed in teardown" in found["test_teardown"]["detail"]


def test_what_a_test_measures_comes_with_its_result(tmp_path: Path):
    (tmp_path / "test_it.py").write_text(
        "from lib import samples\n"
        "def test_one(): samples.note('ifq 1', [3.0, 3.5], {'free': [2, 1]})\n"
        "def test_two(): pass\n"
    )
    found = results(events_of(tmp_path))
    assert found["test_one"]["samples"] == [
        {"of": "ifq 1", "t": [0, 0.5], "values": {"free": [2, 1]}}
    ]
    assert "samples" not in found["test_two"]


def test_module_that_cannot_be_imported_fails_and_others_run(tmp_path: Path):
    (tmp_path / "test_bad.py").write_text("import nonexistent_module\n")
    (tmp_path / "test_good.py").write_text("def test_good(): pass\n")
    events = events_of(tmp_path)
    found = results(events)
    assert found["collection"]["outcome"] == "failed"
    assert "nonexistent_module" in found["collection"]["detail"]
    assert found["test_good"]["outcome"] == "passed"
    assert events[0]["tests"][0] == "test_bad.py::collection"


def test_test_that_kills_pytest_has_started_and_has_no_result(tmp_path: Path):
    (tmp_path / "test_kill.py").write_text("import os\ndef test_kill(): os._exit(0)\n")
    assert [event["ev"] for event in events_of(tmp_path)] == ["session", "start"]


def test_only_what_is_listed_is_run_and_imported(tmp_path: Path):
    for name in ("test_a.py", "test_b.py"):
        (tmp_path / name).write_text("def test_x(): pass\ndef test_y(): pass\n")
    (tmp_path / "test_broken.py").write_text("import nothing_of_this_name\n")
    listed = tmp_path / "only"
    listed.write_text("test_a.py\ntest_b.py::test_y")
    events = events_of(tmp_path, "-p", "lib.report.only", "--only", str(listed))
    assert {event["id"] for event in events if event["ev"] == "result"} == {
        "test_a.py::test_x",
        "test_a.py::test_y",
        "test_b.py::test_y",
    }
