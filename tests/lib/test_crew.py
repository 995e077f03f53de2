# SPDX-License-Identifier: GPL-2.0
"""Threads that fail together."""

import threading

import pytest

from lib.crew import Crew


def test_all_work_is_done_when_the_block_ends() -> None:
    done: list[int] = []
    with Crew() as crew:
        for number in range(3):
            crew.start(done.append, number)
    assert sorted(done) == [0, 1, 2]
    assert not crew.over.is_set()


def test_an_error_ends_the_others_and_is_raised() -> None:
    def fail() -> None:
        raise KeyError("first")

    with pytest.raises(KeyError, match="first"), Crew() as crew:
        crew.start(crew.over.wait)
        crew.start(fail)


def test_an_error_of_the_block_ends_the_threads() -> None:
    with pytest.raises(ValueError, match="block"), Crew() as crew:
        crew.start(crew.over.wait)
        raise ValueError("block")


def test_a_threads_error_goes_before_what_it_caused() -> None:
    def fail() -> None:
        raise KeyError("cause")

    with pytest.raises(KeyError, match="cause"), Crew() as crew:
        crew.start(fail)
        crew.over.wait()
        crew.check()


def test_a_thread_that_hangs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.crew.scaled", lambda seconds: 0.05)
    forever = threading.Event()

    def hang() -> None:
        forever.wait(20)

    with pytest.raises(TimeoutError, match="hang"), Crew() as crew:
        crew.start(hang)
    forever.set()
