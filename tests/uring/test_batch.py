# SPDX-License-Identifier: GPL-2.0
"""Completions by the batch, from a CQ that a kernel of our own fills."""

from typing import cast

import pytest

from lib.uring import Ring, Sqe, syscalls
from lib.uring.abi import CQE
from lib.uring.batch import Batches

HEAD, TAIL, SQ_TAIL, CQES = 0, 1, 2, 64  # where they lie: words, then bytes
ENTRIES = 4


class CannedRing:
    """As much of a Ring as Batches uses; enter() puts what is due into the CQ."""

    fd = 3
    _cq_head, _cq_tail, _sq_tail, _cq_mask, _cqes_at = HEAD, TAIL, SQ_TAIL, ENTRIES - 1, CQES

    def __init__(self) -> None:
        self._cqes = memoryview(bytearray(CQES + ENTRIES * 16))
        self._words = self._cqes[:CQES].cast("I")
        self._tail = self.pending = 0
        self.due: list[list[tuple[int, int, int]]] = []
        self.least: list[int] = []  # how many enter() was to wait for

    def push(self, _sqe: Sqe, _user_data: int) -> None:
        """Take a request."""
        self._tail += 1
        self.pending += 1

    def enter(self, _fd: int, submitted: int, least: int = 1, *_rest: int) -> int:
        """Complete the next batch."""
        self.least.append(least)
        assert submitted == self.pending
        assert self._words[SQ_TAIL] == self._tail
        self.pending = 0
        if not self.due:
            raise OSError(62, "ETIME")
        for cqe in self.due.pop(0):
            tail = self._words[TAIL]
            assert tail - self._words[HEAD] < ENTRIES, "the CQ overflows"
            CQE.pack_into(self._cqes, CQES + tail % ENTRIES * 16, *cqe)
            self._words[TAIL] = tail + 1
        return submitted


@pytest.fixture
def canned(monkeypatch: pytest.MonkeyPatch) -> CannedRing:
    ring = CannedRing()
    monkeypatch.setattr(syscalls, "enter", ring.enter)
    return ring


def test_batches_come_in_order_and_make_room(canned: CannedRing) -> None:
    batches = Batches(cast(Ring, canned))
    cqes = [(number, number * 16, 2) for number in range(9)]
    canned.due = [cqes[:3], cqes[3:7], cqes[7:8], cqes[8:]]
    found = []
    for _ in range(4):
        found.append(list(batches.wait()))
        batches.done()
    assert canned._words[HEAD] == canned._words[TAIL]
    assert found == [cqes[:3], cqes[3:7], cqes[7:8], cqes[8:]]
    assert batches.calls == 4


def test_what_lies_there_takes_no_call(canned: CannedRing) -> None:
    batches = Batches(cast(Ring, canned))
    canned.due = [[(1, 0, 0)]]
    canned.enter(3, 0)
    assert list(batches.wait()) == [(1, 0, 0)]
    batches.done()
    assert batches.calls == 0
    canned.due = [[], [(2, 0, 0)]]  # as after a signal
    batches.push(Sqe(0), 2)
    assert list(batches.wait()) == [(2, 0, 0)]
    assert (batches.calls, canned.pending) == (2, 0)


def test_nothing_comes(canned: CannedRing) -> None:
    with pytest.raises(TimeoutError):
        Batches(cast(Ring, canned)).wait(0.01)


def test_a_batch_is_waited_for_and_then_whatever_there_is(canned: CannedRing) -> None:
    batches = Batches(cast(Ring, canned), 3)
    canned.due = [[(1, 0, 0), (2, 0, 0)], [], [(3, 0, 0)]]
    assert len(list(batches.wait())) == 2  # the time for more has passed
    batches.done()
    assert list(batches.wait()) == [(3, 0, 0)]
    assert canned.least == [3, 3, 1]
