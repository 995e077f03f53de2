# SPDX-License-Identifier: GPL-2.0
"""Patience with a pytest that runs on a mutant."""

import json
import time

import pytest

from lib.mutants.watch import Watch


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def line(ev: str, **fields: object) -> bytes:
    return json.dumps({"ev": ev, **fields}).encode() + b"\n"


def begun(*tests: str) -> Watch:
    found = Watch(list(tests), {"a": 1.0, "b": 2.0}.__getitem__, 30.0)
    found.feed(line("session", tests=list(tests), kernel="6.1", seed=1))
    return found


def test_each_test_has_its_deadline(clock: list[float]):
    found = begun("a", "b")
    assert found.until == 130
    found.feed(line("start", id="b"))
    assert found.until == 102
    clock[0] = 101
    found.feed(line("result", id="b", outcome="passed")[:5])
    assert found.until == 102
    found.feed(line("result", id="b", outcome="passed")[5:])
    assert found.until == 131


def test_what_is_bad():
    found = begun("a", "b", "c")
    for name, outcome in (("a", "passed"), ("b", "skipped"), ("c", "failed")):
        found.feed(line("start", id=name) + line("result", id=name, outcome=outcome))
    assert [result.id for result in found.bad] == ["c"]


def test_one_that_hangs_has_noticed():
    found = begun("a", "b")
    found.feed(line("start", id="b"))
    found.lose("silent", "the guest is silent")
    assert [(result.id, result.outcome) for result in found.bad] == [("b", "timeout")]
    assert found.rest == ["a"]


def test_a_machine_that_ends_says_nothing():
    found = begun("a", "b")
    found.feed(line("start", id="b"))
    found.lose("qemu", "QEMU was killed")
    assert found.bad == []
    assert found.rest == ["a", "b"]


def test_lost_before_any_test():
    found = Watch(["a", "b"], lambda test: 1.0, 30.0)
    found.lose("panic", "the guest panicked")
    assert [(result.id, result.outcome) for result in found.bad] == [("a", "panic")]
    assert found.rest == ["b"]


def test_stages_that_are_not_collected_yet_are_left():
    found = Watch(["a", "b", "c"], lambda test: 1.0, 30.0)
    found.feed(line("session", tests=["a"], left=["b", "c"]))
    found.feed(line("start", id="a"))
    found.lose("panic", "the guest panicked")
    assert found.rest == ["b", "c"]
