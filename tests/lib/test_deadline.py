# SPDX-License-Identifier: GPL-2.0
"""Waiting with deadlines."""

import threading
import time
from collections.abc import Iterator

import pytest

from lib import deadline


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ZCTAP_TIME_SCALE", "3")
    deadline.scale.cache_clear()
    yield
    deadline.scale.cache_clear()


def test_scale_can_be_given() -> None:
    assert deadline.scale() == 3
    assert deadline.scaled(2) == 6


@pytest.mark.parametrize("given", [None, "", "240"])
def test_no_wait_outlasts_the_ceiling(monkeypatch: pytest.MonkeyPatch, given: str | None) -> None:
    if given is not None:
        monkeypatch.setenv("ZCTAP_CEILING", given)
    most = deadline.ceiling()
    assert most == (240 if given else 60)
    assert deadline.scaled(most - 1) == most
    assert deadline.scaled(most + 1) == most + 1


def test_scale_is_measured_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZCTAP_TIME_SCALE")
    assert 2 <= deadline.scale() <= 100


def test_value_is_returned() -> None:
    values = iter([0, "", [], "there"])
    assert deadline.wait_until(lambda: next(values), "a value") == "there"


def test_timeout_says_what_was_waited_for() -> None:
    with pytest.raises(TimeoutError, match=r"not within 0.0 s: the second coming"):
        deadline.wait_until(lambda: False, "the second coming", 0.01)
    with pytest.raises(TimeoutError, match="made on the spot"):
        deadline.wait_until(lambda: False, lambda: "made on the spot", 0.01)


@pytest.mark.parametrize("exact", [False, True])
def test_time_in_which_the_machine_stood_still_is_not_all(
    exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []
    started = time.monotonic()

    def after_a_stop() -> float:
        return time.monotonic_ns() / 1e9 + (1000 if looks else 0)

    def condition() -> bool:
        looks.append(time.monotonic_ns() / 1e9 - started)
        return len(looks) > 5

    monkeypatch.setattr(time, "monotonic", after_a_stop)
    if exact:
        with pytest.raises(TimeoutError):
            deadline.wait_until(condition, "five looks", 1, exact=True)
    else:
        assert deadline.wait_until(condition, "five looks", 1)
    assert len(looks) == (1 if exact else 6)


def test_exact_limit_is_not_scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "scaled", lambda seconds: 1e9)
    with pytest.raises(TimeoutError, match=r"not within 0\.0 s"):
        deadline.wait_until(lambda: False, "the second coming", 0.01, exact=True)


def test_errors_pass_through() -> None:
    with pytest.raises(ZeroDivisionError):
        deadline.wait_until(lambda: 1 // 0, "nothing")


def test_action_in_time() -> None:
    assert deadline.within(5, lambda: 42, "the answer") == 42
    with pytest.raises(ZeroDivisionError):
        deadline.within(5, lambda: 1 // 0, "nothing")


def test_action_that_never_ends() -> None:
    stuck = threading.Event()
    with pytest.raises(TimeoutError, match=r"the flood: not done after 0\.0 s"):
        deadline.within(0.01, stuck.wait, "the flood")
    stuck.set()
