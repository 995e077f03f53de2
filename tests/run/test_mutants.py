# SPDX-License-Identifier: GPL-2.0
"""Running tests on a mutant: when it is over, and what a lost guest means; without any guest."""

import json
from collections.abc import Callable

import pytest

from lib.mutants.watch import Watch
from lib.run import mutant_guest, suite
from lib.run.mutant_guest import Bench
from lib.run.mutants import suite_now
from lib.trouble import Trouble


def result(test: str, outcome: str = "passed") -> bytes:
    events = [{"ev": "start", "id": test}, {"ev": "result", "id": test, "outcome": outcome}]
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


class Guests:
    """In the place of guests: each takes the tests that it gets, and says what it is told to."""

    def __init__(self, *ends: Callable[[Watch], str]) -> None:
        self._ends = list(ends)
        self.asked: list[list[list[str]]] = []

    def attempt(self, number: int, stages: list[list[str]], watch: Watch, *, full: bool) -> str:
        """As Bench._attempt()."""
        self.asked.append(stages)
        tests = [test for stage in stages for test in stage]
        watch.feed(json.dumps({"ev": "session", "tests": tests}).encode() + b"\n")
        return self._ends.pop(0)(watch)


def bench(monkeypatch: pytest.MonkeyPatch, guests: Guests) -> Bench:
    made = Bench.__new__(Bench)
    monkeypatch.setattr(made, "_attempt", guests.attempt)
    monkeypatch.setattr(Bench, "machine", type("", (), {"patience": 1})(), raising=False)
    return made


def passes(watch: Watch) -> str:
    for test in list(watch.run.tests):
        watch.feed(result(test))
    return ""


def fails_first(watch: Watch) -> str:
    watch.feed(result(watch.run.tests[0], "failed"))
    return ""


def panics_at_the_second(watch: Watch) -> str:
    first, second = watch.run.tests[:2]
    watch.feed(result(first) + json.dumps({"ev": "start", "id": second}).encode() + b"\n")
    watch.lose("panic", "the guest panicked")
    return "panic"


def ends_for_no_reason(watch: Watch) -> str:
    watch.lose("qemu", "QEMU was killed")
    return "QEMU was killed"


def test_all_pass(monkeypatch: pytest.MonkeyPatch):
    guests = Guests(passes)
    trial = bench(monkeypatch, guests).run(1, [["a"], [], ["b", "c"]], lambda test: 1.0, full=False)
    assert guests.asked == [[["a"], ["b", "c"]]]
    assert (trial.bad, len(trial.results)) == ([], 3)


def test_a_failure_is_enough(monkeypatch: pytest.MonkeyPatch):
    guests = Guests(fails_first)
    trial = bench(monkeypatch, guests).run(1, [["a"], ["b"]], lambda test: 1.0, full=False)
    assert [(one.id, one.outcome) for one in trial.bad] == [("a", "failed")]


def test_a_lost_guest_is_enough(monkeypatch: pytest.MonkeyPatch):
    guests = Guests(panics_at_the_second)
    trial = bench(monkeypatch, guests).run(1, [["a", "b", "c"]], lambda test: 1.0, full=False)
    assert [(one.id, one.outcome) for one in trial.bad] == [("b", "panic")]
    assert len(guests.asked) == 1


def test_a_fresh_guest_goes_on_for_a_lost_one_if_all_is_to_be_known(
    monkeypatch: pytest.MonkeyPatch,
):
    guests = Guests(panics_at_the_second, passes)
    trial = bench(monkeypatch, guests).run(1, [["a", "b"], ["c"]], lambda test: 1.0, full=True)
    assert guests.asked[1] == [["c"]]
    assert sorted(trial.results) == ["a", "b", "c"]
    assert [one.id for one in trial.bad] == ["b"]


def test_a_machine_that_ends_for_no_reason_is_tried_again(monkeypatch: pytest.MonkeyPatch):
    guests = Guests(ends_for_no_reason, passes)
    trial = bench(monkeypatch, guests).run(1, [["a", "b"]], lambda test: 1.0, full=False)
    assert guests.asked == [[["a", "b"]], [["a", "b"]]]
    assert trial.bad == []
    with pytest.raises(Trouble, match="no guest for mutant 0x1: QEMU was killed"):
        bench(monkeypatch, Guests(*[ends_for_no_reason] * 3)).run(
            1, [["a"]], lambda test: 1.0, full=False
        )


def test_guests_are_not_spent_without_end(monkeypatch: pytest.MonkeyPatch):
    tests = [f"t{number}" for number in range(100)]
    guests = Guests(*[panics_at_the_second] * 100)
    bench(monkeypatch, guests).run(1, [tests], lambda test: 1.0, full=True)
    assert len(guests.asked) == mutant_guest._LOSSES


def test_the_rest_is_not_run_after_so_many_guests(monkeypatch: pytest.MonkeyPatch):
    guests = Guests(panics_at_the_second)
    trial = bench(monkeypatch, guests).run(
        1, [["a", "b", "c"]], lambda test: 1.0, full=True, guests=1
    )
    assert (sorted(trial.results), trial.lost) == (["a", "b"], True)
    guests = Guests(panics_at_the_second)
    trial = bench(monkeypatch, guests).run(1, [["a", "b"]], lambda test: 1.0, full=True, guests=1)
    assert (sorted(trial.results), trial.lost) == (["a", "b"], False)


def test_stages_as_pytest_reads_them():
    assert suite.staged([["a", "b"], ["c"]]) == ["a", "b", "", "c"]


def test_suite_is_what_the_guests_get():
    now = suite_now()
    assert now == suite_now()
    assert all(name.startswith("selftests/zctap/test_") for name in now.modules)
    assert len(now.modules) > 50
