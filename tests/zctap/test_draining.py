# SPDX-License-Identifier: GPL-2.0
"""The fast loop's books: what it counts, and what goes back, with a kernel that says yes."""

import errno
import socket
from collections.abc import Iterator
from typing import cast

import pytest

from lib.uring import BufferPool, CqeFlag, Ring, Sqe
from lib.zctap import ContractError, CopyRing, Drain, FillRing
from lib.zctap.abi import IOV
from lib.zctap.drain import IOVS
from lib.zerocopy import Region
from tests.zctap.test_receiving import COPY, FILL, NUMBERS, REGION, YesRing

META = 30
MORE, BUFFER = CqeFlag.MORE, CqeFlag.BUFFER
Iov = tuple[int, int, int, int]


class Canned:
    """The batches that a kernel completes."""

    def __init__(self, _ring: object, _least: int) -> None:
        self.pushed: list[int] = []
        self.due: list[list[tuple[int, int, int]]] = []

    def push(self, _sqe: Sqe, number: int) -> None:
        """Remember the request."""
        self.pushed.append(number)

    def wait(self, _timeout: float) -> Iterator[tuple[int, int, int]]:
        """Complete what is due."""
        return iter(self.due.pop(0))

    def done(self) -> None:
        """Be told that it was read."""


@pytest.fixture
def drain(monkeypatch: pytest.MonkeyPatch) -> Iterator[Drain]:
    monkeypatch.setattr("lib.zctap.drain.Batches", Canned)
    ring = cast(Ring, YesRing())
    region = Region(4)
    meta = BufferPool(ring, META, 4, IOVS * 16)
    fill, copy = FillRing(ring, FILL, region), CopyRing(ring, COPY, 2, 100)
    with socket.socket() as one, socket.socket() as two:
        yield Drain(ring, NUMBERS, [one, two], region=region, fill=fill, copy=copy, meta=meta)


def canned(drain: Drain) -> Canned:
    return cast(Canned, drain.batches)


def completion(drain: Drain, number: int, bid: int, *iovs: Iov, more: bool = True):
    for at, iov in enumerate(iovs):
        IOV.pack_into(drain.meta.memory.view, bid * IOVS * 16 + at * 16, *iov, 0, 0)
    return number, 16 * len(iovs), BUFFER | bid << 16 | (MORE if more else 0)


def given(pool: BufferPool) -> list[int]:
    """Buffers given back, in order: what lies in the ring behind what it began with."""
    entries = pool._memory.view
    size = pool.entries
    return [
        int.from_bytes(entries[at % size * 16 + 12 : at % size * 16 + 14], "little")
        for at in range(pool.count, pool._tail)
    ]


def test_bytes_are_counted_by_group_and_all_goes_back_once(drain: Drain) -> None:
    seen: list[tuple[int, bytes, bool]] = []
    drain.sink = lambda number, data, zero: seen.append((number, bytes(data), zero))
    drain.region.memory.view[4096:4101] = b"first"
    drain.copy.memory.view[103:107] = b"copy"
    canned(drain).due = [
        [
            completion(drain, 0, 0, (0, 5, REGION, 1), (9, 1, REGION, 1)),
            completion(drain, 1, 1, (3, 4, COPY, 1), (7, 2, COPY, 1)),
            completion(drain, 0, 2, (0, 5, REGION, 1), (0, 7, COPY, 0), (8, 1, COPY, 0)),
        ]
    ]
    drain.step()
    drained = drain.drained
    assert (drained.zero_copy, drained.copied, drained.total) == (11, 14, 25)
    assert (drained.iovs, drained.completions, drained.again) == (7, 3, 0)
    assert list(drain.fill.given) == [1, 1, 1]
    assert given(drain.copy) == [1, 0]
    assert given(drain.meta) == [0, 1, 2]
    assert seen[0] == (0, b"first", True)
    assert seen[2] == (1, b"copy", False)


def test_requests_that_end_go_on_until_the_stream_ends(drain: Drain) -> None:
    assert canned(drain).pushed == [0, 1]
    canned(drain).due = [
        [(0, -errno.ENOBUFS, 0), completion(drain, 1, 0, (0, 1, REGION, 1), more=False)],
        [(1, 0, 0)],
        [(0, 0, 0)],
    ]
    drained = drain.run()
    assert canned(drain).pushed == [0, 1, 0, 1]
    assert (drained.again, drain.open) == (2, set())


def test_what_must_not_be(drain: Drain) -> None:
    canned(drain).due = [
        [(0, -errno.ECONNRESET, 0)],
        [completion(drain, 0, 0, (0, 1, REGION, 4))],
        [completion(drain, 0, 1, (0, 1, FILL, 0))],
    ]
    with pytest.raises(ConnectionResetError):
        drain.step()
    for _ in range(2):
        with pytest.raises(ContractError):
            drain.step()


def test_prepared_entries_wrap_and_leave_the_tail_alone() -> None:
    pool = BufferPool(cast(Ring, YesRing()), META, 4, 64)
    entries = pool.prepared()
    tail = pool._memory.view[14:16]
    for _ in range(3):
        before = bytes(tail)
        pool.extend(entries[3] + entries[2] + entries[0])
        assert bytes(tail) == before
        pool.publish()
    assert int.from_bytes(tail, "little") == 4 + 9
    assert [pool._memory.view[at * 16 + 12] for at in range(4)] == [0, 0, 3, 2]
