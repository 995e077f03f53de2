# SPDX-License-Identifier: GPL-2.0
"""An event channel is understood however it is cut, and patience has an end."""

import json

import pytest

from lib.run.session import Lost, Session
from lib.run.supervise import Supervisor


def test_the_last_test_may_take_longer():
    session = Session(Supervisor([], 0.0), "guest-1", 60, ending=1000)
    session.feed(b'{"ev": "session", "tests": ["m.py::a", "m.py::b"]}\n')
    before = session.until
    session.feed(b'{"ev": "result", "id": "m.py::a", "outcome": "passed"}\n')
    assert session.until > before + 999


def test_a_short_deadline_is_for_tests_and_not_for_what_comes_before():
    session = Session(Supervisor([], 0.0), "guest-1", 5, starting=100)
    before = session.until
    session.feed(b'{"ev": "session", "tests": ["m.py::a"]}\n')
    assert session.until < before - 90


def test_cut_lines_are_put_together(capsys: pytest.CaptureFixture[str]):
    supervisor = Supervisor(["guest: booted"], 0.0)
    session = Session(supervisor, "guest-1", 60)
    stream = (
        b'{"ev": "session", "tests": ["m.py::a", "m.py::b"], "kernel": "6.1", "seed": 3}\n'
        b'{"ev": "start", "id": "m.py::a"}\n'
        b'{"ev": "result", "id": "m.py::a", "outcome": "passed", "duration": 0.1}\n'
        b'{"ev": "start", "id": "m.py::b"}\n{"ev": "resu'
    )
    for byte in stream:
        session.feed(bytes([byte]))
    session.lose(Lost("crashed", "QEMU was killed by SIGKILL", []), all_of_it=False)
    assert supervisor.finish() == 1
    lines = capsys.readouterr().out.splitlines()
    assert "  ok 1 a" in lines
    assert "  not ok 2 b # ERROR crashed: QEMU was killed by SIGKILL" in lines
    assert lines[-1] == "not ok 1 m.py"


def test_the_report_waits_for_all_sessions(capsys: pytest.CaptureFixture[str]):
    supervisor = Supervisor([], 0.0, sessions=2)
    one, two = (Session(supervisor, name, 60) for name in ("guest-1", "guest-2"))
    one.feed(b'{"ev": "session", "tests": ["m.py::a"]}\n')
    one.feed(b'{"ev": "result", "id": "m.py::a", "outcome": "passed"}\n')
    assert capsys.readouterr().out == ""
    two.feed(b'{"ev": "session", "tests": ["n.py::a"]}\n')
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "1..2"
    assert lines[-1] == "ok 1 m.py"
    two.feed(b'{"ev": "result", "id": "n.py::a", "outcome": "passed"}\n')
    assert supervisor.finish() == 0


def test_totals_come_last_if_they_are_wanted(capsys: pytest.CaptureFixture[str]):
    supervisor = Supervisor([], 0.0, totals=True)
    session = Session(supervisor, "pytest-1", 60)
    result = {"ev": "result", "id": "m.py::a", "outcome": "passed", "duration": 0.0}
    for event in ({"ev": "session", "tests": ["m.py::a"], "kernel": "6.1"}, result):
        session.feed(json.dumps(event).encode() + b"\n")
    assert supervisor.finish() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == ["ok 1 m.py", "# Totals: pass:1 fail:0 xfail:0 xpass:0 skip:0 error:0"]


STAGED = b"""{"ev": "session", "tests": ["m.py::a", "m.py::b"], "left": ["n.py", "o.py"]}
{"ev": "start", "id": "m.py::a"}
{"ev": "result", "id": "m.py::a", "outcome": "passed"}
{"ev": "start", "id": "m.py::b"}
"""


def test_the_report_begins_before_all_is_collected(capsys: pytest.CaptureFixture[str]):
    supervisor = Supervisor([], 0.0, sessions=2, modules=["m.py", "n.py", "o.py", "p.py"])
    session = Session(supervisor, "guest-1", 60)
    session.feed(STAGED)
    lines = capsys.readouterr().out.splitlines()
    assert (lines[1], lines[-1]) == ("1..4", "  ok 1 a")
    session.feed(b'{"ev": "session", "tests": ["n.py::a"], "left": [], "empty": ["o.py"]}\n')
    session.feed(b'{"ev": "result", "id": "m.py::b", "outcome": "passed"}\n')
    session.feed(b'{"ev": "result", "id": "n.py::a", "outcome": "passed"}\n')
    other = Session(supervisor, "guest-2", 60)
    other.feed(b'{"ev": "session", "tests": ["p.py::a"]}\n')
    other.feed(b'{"ev": "result", "id": "p.py::a", "outcome": "passed"}\n')
    assert supervisor.finish() == 0
    results = [line for line in capsys.readouterr().out.splitlines() if line[0] != " "]
    assert results == ["ok 1 m.py", "ok 2 n.py", "ok 3 p.py", "ok 4 o.py # SKIP it has no tests"]


def test_a_last_stage_without_tests_is_told(capsys: pytest.CaptureFixture[str]):
    supervisor = Supervisor([], 0.0, modules=["m.py", "o.py"])
    session = Session(supervisor, "guest-1", 60)
    session.feed(b'{"ev": "session", "tests": ["m.py::a"], "left": ["o.py"]}\n')
    session.feed(b'{"ev": "session", "tests": [], "left": [], "empty": ["o.py"]}\n')
    session.feed(b'{"ev": "result", "id": "m.py::a", "outcome": "passed"}\n')
    assert supervisor.finish() == 0
    assert capsys.readouterr().out.splitlines()[-1] == "ok 2 o.py # SKIP it has no tests"


def test_what_was_not_collected_is_left_by_a_loss():
    session = Session(Supervisor([], 0.0), "guest-1", 60)
    session.feed(STAGED)
    assert session.lose(Lost("panic", "", []), all_of_it=False) == ["n.py", "o.py"]


def test_what_was_not_collected_is_not_run_when_all_is_lost():
    supervisor = Supervisor([], 0.0, modules=["m.py", "n.py", "o.py"])
    session = Session(supervisor, "guest-1", 60)
    session.feed(STAGED)
    assert session.lose(Lost("interrupted", "interrupted", []), all_of_it=True) == []
    outcomes = {name: result.outcome for name, result in supervisor.run.results.items()}
    assert outcomes == {
        "m.py::a": "passed",
        "m.py::b": "interrupted",
        "n.py": "not run",
        "o.py": "not run",
    }
    assert supervisor.finish() == 1


def test_a_module_that_nobody_saw_is_not_good(capsys: pytest.CaptureFixture[str]):
    supervisor = Supervisor([], 0.0, modules=["m.py", "n.py"])
    session = Session(supervisor, "guest-1", 60)
    session.feed(b'{"ev": "session", "tests": ["m.py::a"]}\n')
    session.feed(b'{"ev": "result", "id": "m.py::a", "outcome": "passed"}\n')
    assert supervisor.finish() == 1
    assert "not ok 2 n.py # ERROR not run: nobody ran it" in capsys.readouterr().out.splitlines()


def test_a_session_that_goes_on_may_lose_a_module_before_its_tests_are_known():
    supervisor = Supervisor([], 0.0, modules=["m.py", "n.py", "o.py"])
    first = Session(supervisor, "guest-1", 60)
    first.feed(STAGED)
    left = first.lose(Lost("panic", "", []), all_of_it=False)
    second = Session(supervisor, "guest-2", 60, rest=left)
    assert second.lose(Lost("silent", "", []), all_of_it=False) == ["o.py"]
    assert supervisor.run.results["n.py"].outcome == "silent"
