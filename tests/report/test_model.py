# SPDX-License-Identifier: GPL-2.0
"""Whatever the channel brings, each announced test gets one verdict, and none a good one by
mistake.
"""

import json

import pytest

from lib.report.model import Result, Run, count, replay


def event(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def result(test: str, outcome: str = "passed") -> bytes:
    return event(ev="result", id=test, outcome=outcome, duration=0.1)


def run_of(*tests: str) -> Run:
    run = Run()
    run.feed(event(ev="session", tests=list(tests), kernel="6.1", seed=7))
    return run


def outcomes(run: Run) -> dict[str, str]:
    return {test: run.results[test].outcome for test in run.tests}


def test_good_run():
    run = run_of("m::a", "m::b")
    run.feed(event(ev="start", id="m::a"))
    assert [new.id for new in run.feed(result("m::a"))] == ["m::a"]
    run.feed(result("m::b", "skipped"))
    run.feed(event(ev="end", exitstatus=0))
    assert (run.exit_status(), run.seed, run.ended) == (0, 7, True)
    assert run.summary() == "1 passed, 1 skipped"


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (["passed", "xfailed", "xpassed"], 0),
        (["passed", "failed"], 1),
        (["skipped", "skipped"], 4),
        (["skipped", "failed"], 1),
        ([], 4),
    ],
)
def test_exit_status(found: list[str], status: int):
    tests = [f"m::{number}" for number in range(len(found))]
    run = run_of(*tests)
    for test, outcome in zip(tests, found, strict=True):
        run.feed(result(test, outcome))
    assert run.exit_status() == status


def test_crash_is_the_running_test_s():
    run = run_of("m::a", "m::b", "m::c")
    run.feed(result("m::a"))
    run.feed(event(ev="start", id="m::c"))
    lost = run.lose("crashed", "the guest panicked")
    assert [new.id for new in lost] == ["m::c", "m::b"]
    assert outcomes(run) == {"m::a": "passed", "m::b": "not run", "m::c": "crashed"}
    assert run.exit_status() == 1


def test_crash_between_tests_is_nobody_s_success():
    run = run_of("m::a", "m::b")
    run.feed(event(ev="start", id="m::a"))
    run.feed(result("m::a"))
    run.lose("crashed", "the guest panicked")
    assert outcomes(run) == {"m::a": "passed", "m::b": "crashed"}
    assert "had not begun" in run.results["m::b"].reason
    assert run.exit_status() == 1


@pytest.mark.parametrize(
    ("outcome", "fault"),
    [("passed", False), ("qemu", False), ("no guest", False), ("panic", True), ("failed", True)],
)
def test_what_speaks_against_the_kernel(outcome: str, fault: bool):
    run = run_of("m::a")
    run.take([Result("m::a", outcome)])
    assert run.speaks_against_the_kernel() == fault


def test_one_is_lost_and_the_others_are_left():
    run = run_of("m::a", "m::b", "m::c")
    run.feed(event(ev="start", id="m::b"))
    assert [new.id for new in run.lose_one("timeout", "silent")] == ["m::b"]
    assert run.pending() == ["m::a", "m::c"]
    assert run.running is None


def test_joined_sessions_are_one_run():
    first, second, whole = run_of("m::a"), run_of("n::a", "n::b"), Run()
    for session in (first, second, first):
        whole.join(session)
    whole.take(first.feed(result("m::a")))
    whole.take(second.feed(result("n::b", "failed")))
    assert whole.tests == ["m::a", "n::a", "n::b"]
    assert whole.pending() == ["n::a"]
    assert (whole.seed, whole.kernel) == (7, "6.1")


def test_file_of_events_is_replayed_by_session():
    def line(session: str, **fields: object) -> bytes:
        return event(session=session, **fields)

    run = replay(
        [
            line("guest-1", ev="session", tests=["m::a", "m::b"]),
            line("guest-2", ev="session", tests=["n::a"]),
            line("guest-1", ev="start", id="m::a"),
            line("guest-2", ev="result", id="n::a", outcome="passed"),
            line("guest-1", ev="result", id="m::a", outcome="skipped"),
            b"not an event",
        ]
    )
    assert {test: result.outcome for test, result in run.results.items()} == {
        "m::a": "skipped",
        "n::a": "passed",
    }
    assert run.pending() == ["m::b"]
    assert len(run.complaints) == 1


@pytest.mark.parametrize("announced", [True, False])
def test_crash_without_pending_tests_still_fails(announced: bool):
    run = run_of("m::a") if announced else Run()
    run.feed(result("m::a")) if announced else None
    run.lose("crashed", "the guest panicked")
    assert run.results["session"].outcome == "crashed"
    assert run.exit_status() == 1


def test_pending_tests_are_not_good():
    run = run_of("m::a", "m::b")
    run.feed(result("m::a"))
    assert run.exit_status() == 1


def test_interrupted_run_keeps_what_it_had():
    run = run_of("m::a", "m::b", "m::c")
    run.feed(result("m::a"))
    run.feed(event(ev="start", id="m::b"))
    run.lose("interrupted", "interrupted")
    assert outcomes(run) == {"m::a": "passed", "m::b": "interrupted", "m::c": "not run"}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b'{"ev": "result", "id": "m::a", "outc',
        b"[1, 2]",
        b"\xff\xfe\x00",
        b'{"ev": "result", "id": "m::a", "outcome": "splendid"}',
        b'{"ev": "result", "id": "m::a"}',
        b'{"ev": "session", "tests": ["m::a"]}',
        b'{"ev": "unheard-of"}',
    ],
)
def test_broken_line_is_a_complaint_and_no_verdict(line: bytes):
    run = run_of("m::a")
    assert run.feed(line) == []
    assert len(run.complaints) == 1
    run.feed(result("m::a"))
    assert run.exit_status() == 1


def test_second_verdict_does_not_replace_the_first():
    run = run_of("m::a")
    run.feed(result("m::a", "failed"))
    assert run.feed(result("m::a", "passed")) == []
    assert outcomes(run) == {"m::a": "failed"}
    assert run.complaints


def test_unannounced_test_counts_and_is_complained_about():
    run = run_of("m::a")
    run.feed(result("m::a"))
    run.feed(result("m::b"))
    assert run.tests == ["m::a", "m::b"]
    assert run.exit_status() == 1


def test_count_has_an_order():
    assert count(["failed", "passed", "crashed", "passed"]) == "2 passed, 1 failed, 1 crashed"
    assert count([]) == "no tests"


def test_totals_are_those_of_kselftest():
    run = Run()
    outcomes = ["passed", "passed", "failed", "xfailed", "xpassed", "skipped", "panic", "not run"]
    run.take(Result(f"m::{n}", outcome) for n, outcome in enumerate(outcomes))
    assert run.totals() == "Totals: pass:2 fail:1 xfail:1 xpass:1 skip:1 error:2"


def test_a_file_of_events_that_ends_between_stages_is_no_whole_run():
    lines = [
        b'{"session": "g", "ev": "session", "tests": ["m.py::a"], "left": ["n.py"]}',
        b'{"session": "g", "ev": "result", "id": "m.py::a", "outcome": "passed"}',
    ]
    assert replay(lines).exit_status() == 1
    lines += [
        b'{"session": "g", "ev": "session", "tests": ["n.py::a"], "left": []}',
        b'{"session": "g", "ev": "result", "id": "n.py::a", "outcome": "passed"}',
    ]
    assert replay(lines).exit_status() == 0


def test_a_second_announcement_that_was_not_promised_is_refused():
    run = Run()
    for _ in range(2):
        run.feed(b'{"ev": "session", "tests": ["m.py::a"], "left": []}')
    assert len(run.complaints) == 1
