# SPDX-License-Identifier: GPL-2.0
"""Multishot RECV_ZC: one request, many completions, and every way in which it ends (RECV-24)."""

import errno
import socket
from dataclasses import replace

import pytest

from fixtures.links import UNUSED_QUEUE
from fixtures.multishot import DEFERRED, POOLS, MakePool, Multishot, pool_of
from fixtures.stations import META, MakeStation, Station
from lib.deadline import wait_until
from lib.uring import PAGE, CqeFlag, RecvSend

contract = pytest.mark.contract

every_pool = pytest.mark.parametrize("make_pool", POOLS.values(), ids=list(POOLS))


@contract("RECV-24", "RECV-29", "RECV-30")
@every_pool
def test_until_metadata_runs_out(either_station: Station, make_pool: MakePool) -> None:
    """It completes for each arrival until its metadata is used up, then ENOBUFS; again it goes."""
    flow = either_station.flow()
    shot = Multishot(either_station, flow, make_pool(either_station))
    shot.arm()
    for _ in range(2):
        for _ in range(4):
            flow.tcp.send(500)
            received = shot.take(recycle=False)
            assert received.cqe.more
            assert flow.tally.total == flow.tcp.sent.offset
        flow.tcp.send(500)
        assert shot.take().error == errno.ENOBUFS
        wait_until(lambda: flow.tcp.queued() == 500, "500 bytes in the socket")
        shot.pool.give(*range(4))
        shot.arm()
        while flow.tally.total < flow.tcp.sent.offset:
            received = shot.take()
            assert received.cqe.more, f"{received.cqe}: a new request, expected it to go on"


@contract("RECV-24", "RECV-29")
@pytest.mark.parametrize("ring_flags", [0, DEFERRED], ids=["plain", "deferred"])
def test_stream(make_station: MakeStation, ring_flags: int) -> None:
    """A long stream comes whole through many requests, each but the last CQE with F_MORE."""
    station = make_station(ring_flags=ring_flags)
    flow, total, left = station.flow(), 1 << 20, 1 << 20
    shot, ran_out = Multishot(station, flow, pool_of(station, count=2, size=128)), 0
    while flow.tally.total < total:
        left -= flow.tcp.feed(left)
        if shot.ended:
            shot.arm()
        received = shot.take()
        assert received.error in (0, errno.ENOBUFS)
        ran_out += received.error == errno.ENOBUFS
    assert ran_out, "two metadata buffers were enough all the way, expected ENOBUFS now and then"
    flow.tcp.finish()
    if shot.ended:
        shot.arm()
    while not shot.ended:
        received = shot.take()
    assert received.end or received.error == errno.ENOBUFS


@contract("RECV-24", "RECV-18")
@pytest.mark.parametrize("readlen", [1, 100, PAGE, PAGE + 1])
def test_readlen_bounds_each_completion(either_station: Station, readlen: int) -> None:
    """What lies there comes in as many completions as it takes, none beyond readlen."""
    total = min(12 * readlen, 20_000)
    flow = either_station.flow()
    flow.tcp.send(total)
    flow.tcp.wait_queued(total)
    shot = Multishot(either_station, flow, pool_of(either_station, 32), readlen)
    shot.arm()
    while flow.tally.total < total:
        assert shot.take().cqe.more
    flow.tcp.send(readlen)
    while flow.tally.total < total + readlen:
        assert shot.take().cqe.more


@contract("RECV-24", "RECV-18")
def test_metadata_bounds_each_completion(station: Station) -> None:
    """With room for two iovs in a buffer no completion reports more."""
    flow, total = station.flow(), 20_000
    flow.tcp.send(total)
    flow.tcp.wait_queued(total)
    shot = Multishot(station, flow, pool_of(station, 32, 2 * 16 + 15))
    shot.arm()
    while flow.tally.total < total:
        received = shot.take()
        assert received.cqe.more
        assert len(received.chunks) <= 2


# -- the ends ------------------------------------------------------------------------------------


@contract("RECV-24", "RECV-11", "RECV-29", "RECV-30", "DBG-5")
@every_pool
def test_until_copy_buffers_run_out(
    make_station: MakeStation,
    make_pool: MakePool,
) -> None:
    """Without copy buffers it ends with ENOBUFS; the data stays, and F_BUFFER is exact."""
    station = make_station(queue=UNUSED_QUEUE, copies=2)
    flow, total = station.flow(), 4 * PAGE
    shot = Multishot(station, flow, make_pool(station))
    flow.tcp.send(total)
    flow.tcp.wait_queued(total)
    sqe = flow.receiver.sqe_select(total, META)
    request = station.ring.push(replace(sqe, ioprio=RecvSend.MULTISHOT))
    held, taken, more = [], 0, True
    while more:
        cqe = station.ring.wait_for(request)
        received = flow.receiver.decode(cqe, shot.pool.used(cqe))
        held += flow.accept(received)
        taken, more = taken + received.length, cqe.more
    assert cqe.error == errno.ENOBUFS
    assert 0 < taken <= 2 * PAGE
    assert flow.tcp.queued() == total - taken
    assert station.debug().counters().recv_enobufs == 1
    flow.receiver.give_back(held)
    shot.arm()
    assert shot.take().length, "a new request, expected it to go on"
    flow.tcp.finish()
    while not received.end:
        if shot.ended:
            shot.arm()
        received = shot.take()
        assert received.error in (0, errno.ENOBUFS)
    assert flow.tally.total == total
    lent = list(shot.pool.books.lent)
    assert station.metadata_left(shot.pool) == lent


@contract("RECV-24", "RECV-15", "RECV-30")
@every_pool
@pytest.mark.parametrize("size", [0, 1000])
def test_end_of_stream(station: Station, make_pool: MakePool, size: int) -> None:
    """It ends with 0, after the data, when the peer closes; F_BUFFER is exact."""
    flow = station.flow()
    shot = Multishot(station, flow, make_pool(station))
    shot.arm()
    if size:
        flow.tcp.send(size)
    flow.tcp.finish()
    while not shot.ended:
        received = shot.take(recycle=False)
    assert received.end
    assert flow.tally.total == size
    lent = list(shot.pool.books.lent)
    assert station.metadata_left(shot.pool) == lent


@contract("RECV-24", "RECV-16", "RECV-30")
@every_pool
@pytest.mark.parametrize("size", [0, 1000])
def test_reset(station: Station, make_pool: MakePool, size: int) -> None:
    """It ends with ECONNRESET, after the data, when the peer resets; F_BUFFER is exact."""
    flow = station.flow()
    shot = Multishot(station, flow, make_pool(station))
    if size:
        flow.tcp.send(size)
        flow.tcp.wait_queued(size)
    shot.arm()
    flow.tcp.reset()
    while not shot.ended:
        received = shot.take(recycle=False)
    assert received.error == errno.ECONNRESET
    assert flow.tally.total == size
    lent = list(shot.pool.books.lent)
    assert station.metadata_left(shot.pool) == lent


@contract("RECV-24", "RECV-9", "RECV-29", "RECV-30")
def test_metadata_that_cannot_be_written(station: Station) -> None:
    """A buffer that cannot be written ends it with EFAULT, and costs no byte."""
    pool = pool_of(station, 3, PAGE)
    flow, before = station.flow(), 0
    shot = Multishot(station, flow, pool)
    with pool.memory.protected(at=PAGE, size=PAGE):
        flow.tcp.send(1000)
        flow.tcp.wait_queued(1000)
        shot.arm()
        while not shot.ended:
            received = shot.take(recycle=False)
            if not shot.ended:
                before += received.length
                flow.tcp.send(100)
    assert before == 1000
    assert received.error == errno.EFAULT
    wait_until(lambda: flow.tcp.queued() == 100, "100 bytes in the socket")
    flow.drain(100)
    lent = list(pool.books.lent)
    assert station.metadata_left(pool) == lent


@contract("RECV-24", "RECV-25")
def test_low_water_mark(either_station: Station) -> None:
    """It is woken by SO_RCVLOWAT bytes, and by fewer not, each time anew."""
    flow, ring = either_station.flow(), either_station.ring
    flow.tcp.rx.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1000)
    shot = Multishot(either_station, flow, pool_of(either_station, 16))
    shot.arm()
    for _ in range(3):
        due = flow.tcp.sent.offset + 1000
        for part in (333, 666):
            flow.tcp.send(333)
            flow.tcp.wait_queued(part)
            found = ring.reap()
            assert found == [], f"{found} with {part} bytes there, expected none before 1000"
        flow.tcp.send(334)
        while flow.tally.total < due:
            assert shot.take().cqe.more


@contract("RECV-30")
def test_more_to_read_is_announced_truly(station: Station) -> None:
    """F_SOCK_NONEMPTY is not set on the completion that empties the socket."""
    flow = station.flow()
    shot = Multishot(station, flow, pool_of(station, 8))
    shot.arm()
    for _ in range(6):
        flow.tcp.send(1000)
        while flow.tally.total < flow.tcp.sent.offset:
            received = shot.take()
        assert not received.cqe.flags & CqeFlag.SOCK_NONEMPTY
