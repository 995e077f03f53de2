# SPDX-License-Identifier: GPL-2.0
"""Whatever becomes of the pytests of a run, each test gets one verdict, and the rest goes on."""

import errno
import io
import json
import os
import sys
from collections.abc import Callable

import pytest

from lib.report.model import Run
from lib.run.resume import Ended, NoStart, run_all
from lib.run.session import Lost, Session
from lib.run.supervise import Supervisor
from lib.trouble import Trouble

Script = Callable[[Session, list[str]], Ended]
TESTS = ["m.py::a", "m.py::b", "m.py::c"]
DONE = Ended(0, b"")


class Runs:
    """Attempts as scripted, each with the tests it was asked for; the last one is repeated."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.asked: list[list[str] | None] = []
        self.supervisor = Supervisor([], 0.0)
        self.stopping = self.begun = False

    def attempt(self, session: Session, only: list[str] | None) -> Ended:
        """Run the next script."""
        self.asked.append(only)
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        return script(session, TESTS if only == ["m.py"] else only or [])

    def session(self, rest: list[str] | None) -> Session:
        """Return the session of the next attempt."""
        return Session(self.supervisor, f"guest-{len(self.asked) + 1}", 60, rest=rest)

    def go(self) -> Run:
        """Run all, and return what came of it."""
        stopping, begun = lambda: self.stopping, lambda: self.begun
        run_all(self.attempt, self.session, ["m.py"], stopping, begun)
        self.status = self.supervisor.finish()
        return self.supervisor.run


def send(session: Session, **fields: object) -> None:
    session.feed(json.dumps(fields).encode() + b"\n")


def whole(session: Session, tests: list[str], failing: str = "") -> Ended:
    """A pytest that runs all it is told to."""
    send(session, ev="session", tests=tests)
    for test in tests:
        send(session, ev="start", id=test)
        send(session, ev="result", id=test, outcome="failed" if test == failing else "passed")
    send(session, ev="end", exitstatus=0)
    return DONE


def dies_in(name: str, kind: str = "crashed") -> Script:
    """A pytest that is lost in the middle of a test."""

    def script(session: Session, tests: list[str]) -> Ended:
        send(session, ev="session", tests=tests)
        for test in tests:
            send(session, ev="start", id=test)
            if test == name:
                raise Lost(kind, "the guest panicked", ["console: BUG"])
            send(session, ev="result", id=test, outcome="passed")
        return DONE

    return script


def lost_early(session: Session, tests: list[str]) -> Ended:
    raise Lost("crashed", "QEMU was killed", [])


def outcomes(run: Run) -> dict[str, str]:
    return {test: result.outcome for test, result in run.results.items()}


def test_good_run_is_one_attempt():
    runs = Runs(whole)
    assert outcomes(runs.go()) == dict.fromkeys(TESTS, "passed")
    assert (runs.asked, runs.status) == ([["m.py"]], 0)


def test_a_fresh_one_goes_on_with_what_is_left(capsys: pytest.CaptureFixture[str]):
    runs = Runs(dies_in("m.py::b"), whole)
    run = runs.go()
    assert outcomes(run) == {"m.py::a": "passed", "m.py::b": "crashed", "m.py::c": "passed"}
    assert runs.asked == [["m.py"], ["m.py::c"]]
    assert "console: BUG" in run.results["m.py::b"].detail
    assert runs.status == 1
    lines = capsys.readouterr().out.splitlines()
    assert "  1..3" in lines
    assert "  not ok 2 b # ERROR crashed: the guest panicked" in lines
    assert lines[-1] == "not ok 1 m.py"


def no_guest(session: Session, tests: list[str]) -> Ended:
    raise Trouble("the guest does not boot")


def test_no_guest_for_one_share_is_no_end_for_the_others():
    runs = Runs(no_guest)
    with pytest.raises(Trouble, match="does not boot"):
        runs.go()
    whole(Session(runs.supervisor, "guest-0", 60), ["n.py::x"])
    runs.begun = True
    found = outcomes(runs.go())
    assert found.pop("n.py::x") == "passed"
    assert set(found.values()) <= {"no guest", "not run"}
    assert found
    assert runs.status == 1


def test_what_was_seen_is_reported_whatever_happens(capsys: pytest.CaptureFixture[str]):
    supervisor = Supervisor([], 0.0)

    def work() -> None:
        dies_in("m.py::c")(Session(supervisor, "guest-1", 60), TESTS)

    with pytest.raises(Lost):
        supervisor.over(work)
    lines = capsys.readouterr().out.splitlines()
    assert "  ok 2 b" in lines
    assert lines[-1] == "not ok 1 m.py"


@pytest.mark.parametrize("kind", [errno.EPIPE, errno.ENOSPC])
@pytest.mark.parametrize(("failing", "status"), [("", 2), ("m.py::a", 1)])
def test_run_that_nobody_sees_ends_with_what_is_known(
    kind: int, failing: str, status: int, monkeypatch: pytest.MonkeyPatch
):
    class Out(io.StringIO):
        def write(self, text: str) -> int:
            if " 2 b" in text:
                raise OSError(kind, os.strerror(kind))
            return super().write(text)

    monkeypatch.setattr(sys, "stdout", Out())
    kept: list[Run] = []
    runs = Runs(lambda session, tests: whole(session, tests, failing))
    runs.supervisor = Supervisor([], 0.0, [kept.append])

    def work() -> None:
        run_all(runs.attempt, runs.session, ["m.py"])

    assert runs.supervisor.over(work) == status
    found = outcomes(kept[0])
    assert found.pop("m.py::a") == ("failed" if failing else "passed")
    assert found == {"m.py::b": "passed", "m.py::c": "not run"}


@pytest.mark.parametrize("reason", ["no zctap in this kernel: why", "no fault injection"])
@pytest.mark.parametrize("bisecting", [False, True])
def test_kernel_without_zctap_is_not_good(
    reason: str, bisecting: bool, capsys: pytest.CaptureFixture[str]
):
    supervisor = Supervisor([], 0.0, bisecting=bisecting)

    def work() -> None:
        session = Session(supervisor, "guest-1", 60)
        send(session, ev="session", tests=TESTS[:2])
        send(session, ev="start", id="m.py::a")
        send(session, ev="result", id="m.py::a", outcome="passed")
        send(session, ev="start", id="m.py::b")
        send(session, ev="result", id="m.py::b", outcome="skipped", reason=reason)
        send(session, ev="end", exitstatus=0)
        session.end()

    if bisecting and "zctap" in reason:
        with pytest.raises(Trouble, match="no zctap in this kernel: no verdict"):
            supervisor.over(work)
    else:
        assert supervisor.over(work) == 0
    printed = capsys.readouterr()
    expected = 1 if "zctap" in reason else 0
    for text in printed:
        assert text.count("no zctap in this kernel: 1 tests skipped") == expected


def test_each_loss_takes_a_test_with_it():
    runs = Runs(dies_in("m.py::a"), lost_early)
    assert outcomes(runs.go()) == dict.fromkeys(TESTS, "crashed")
    assert len(runs.asked) == 3


def test_lost_before_the_first_test_is_tried_again_and_not_forgotten():
    runs = Runs(lost_early, whole)
    assert outcomes(runs.go()) == {"guest-1": "crashed"} | dict.fromkeys(TESTS, "passed")
    assert runs.status == 1


def test_lost_before_the_first_test_each_time_ends():
    runs = Runs(lost_early)
    assert set(outcomes(runs.go()).values()) == {"crashed"}
    assert (len(runs.asked), runs.status) == (3, 1)


def test_too_many_losses_end_it():
    tests = [f"m.py::{number}" for number in range(50)]

    def script(session: Session, asked: list[str]) -> Ended:
        rest = tests if asked is TESTS else asked
        return dies_in(rest[0])(session, rest)

    runs = Runs(script)
    found = list(outcomes(runs.go()).values())
    assert (len(runs.asked), found.count("crashed"), found.count("not run")) == (20, 20, 30)


def test_pytest_that_ends_early_is_a_loss():
    def script(session: Session, tests: list[str]) -> Ended:
        send(session, ev="session", tests=tests)
        send(session, ev="start", id=tests[0])
        return Ended(139, b"")

    runs = Runs(script, whole)
    run = runs.go()
    assert outcomes(run)["m.py::a"] == "crashed"
    assert run.results["m.py::a"].reason == "pytest was killed by SIGSEGV"
    assert outcomes(run)["m.py::c"] == "passed"


def test_pytest_that_does_not_start_is_the_user_s_trouble():
    with pytest.raises(NoStart, match="status 4") as raised:
        Runs(lambda session, tests: Ended(4, b"no such option")).go()
    assert raised.value.output == b"no such option"


def test_no_guest_at_first_is_trouble_and_later_a_verdict():
    def no_guest(session: Session, tests: list[str]) -> Ended:
        raise Trouble("it does not boot")

    with pytest.raises(Trouble):
        Runs(no_guest).go()
    run = Runs(dies_in("m.py::a"), no_guest).go()
    assert outcomes(run) == {"m.py::a": "crashed", "m.py::b": "no guest", "m.py::c": "not run"}
    assert run.results["m.py::b"].reason.startswith("it does not boot")


def test_interrupted_run_says_so():
    runs = Runs(dies_in("m.py::b"))
    runs.stopping = True
    assert outcomes(runs.go()) == {
        "m.py::a": "passed",
        "m.py::b": "interrupted",
        "m.py::c": "not run",
    }
    assert len(runs.asked) == 1
