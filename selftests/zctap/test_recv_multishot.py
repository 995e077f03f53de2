# SPDX-License-Identifier: GPL-2.0
"""Multishot RECV_ZC: one request, many completions, and every way in which it ends (RECV-24)."""

import errno
from collections.abc import Callable
from dataclasses import replace

import pytest

from fixtures.links import UNUSED_QUEUE
from fixtures.stations import META, Flow, MakeStation, Station
from lib.deadline import wait_until
from lib.uring import PAGE, Cqe, CqeFlag, RecvSend, Setup
from lib.zctap import Received
from lib.zctap.metadata import MetadataGroup, MetadataRing

contract = pytest.mark.contract

Pool = MetadataRing | MetadataGroup
MakePool = Callable[[Station], Pool]
DEFERRED = Setup.SINGLE_ISSUER | Setup.DEFER_TASKRUN


class Multishot:
    """A multishot request on a flow, its completions checked as they are taken."""

    def __init__(
        self,
        station: Station,
        flow: Flow,
        pool: Pool,
        readlen: int = 1 << 20,
    ) -> None:
        self.ring, self.flow, self.pool, self.readlen = station.ring, flow, pool, readlen
        self.request = 0
        self.ended = True

    def arm(self) -> None:
        """Submit the request, anew if it has ended."""
        assert self.ended
        sqe = self.flow.receiver.sqe_select(self.readlen, self.pool.bgid)
        self.request = self.ring.push(replace(sqe, ioprio=RecvSend.MULTISHOT))
        self.ring.submit()
        self.ended = False

    def take(self, *, recycle: bool = True) -> Received:
        """The next completion; its pieces are given back, its metadata buffer if asked for."""
        return self.see(self.ring.wait_for(self.request), recycle=recycle)

    def see(self, cqe: Cqe, *, recycle: bool = True) -> Received:
        """Look at a completion, which is the next."""
        assert cqe.user_data == self.request
        assert not self.ended, f"{cqe} after the one without F_MORE"
        self.ended = not cqe.more
        if cqe.res <= 0:
            assert self.ended, f"{cqe}: F_MORE on an error or at the end"
        received = self.flow.receiver.decode(cqe, self.pool.used(cqe))
        assert received.length <= self.readlen, cqe
        self.flow.receiver.give_back(self.flow.accept(received))
        if recycle and cqe.buffer_id is not None:
            self.pool.give(cqe.buffer_id)
        return received


def pool_of(station: Station, count: int = 4, size: int = 1024) -> MetadataRing:
    """A ring-mapped group of metadata buffers."""
    return MetadataRing(station.ring, META, count, size)


POOLS: dict[str, MakePool] = {
    "ring": pool_of,
    "classic": lambda station: MetadataGroup(station.ring, META, 4, 1024),
}
every_pool = pytest.mark.parametrize("make_pool", POOLS.values(), ids=list(POOLS))


@contract("RECV-24", "RECV-29", "RECV-30")
@every_pool
def test_until_metadata_runs_out(either_station: Station, make_pool: MakePool) -> None:
    """It completes for each arrival until its metadata is used up, then ENOBUFS; again it goes."""
    flow = either_station.flow()
    shot = Multishot(either_station, flow, make_pool(either_station))
    for _ in range(2):
        shot.arm()
        for _ in range(4):
            flow.tcp.send(500)
            received = shot.take(recycle=False)
            assert received.cqe.more
            assert flow.tally.total == flow.tcp.sent.offset
        flow.tcp.send(500)
        assert shot.take().error == errno.ENOBUFS
        wait_until(lambda: flow.tcp.queued() == 500, "500 bytes in the socket")
        flow.drain(500)
        shot.pool.give(*range(4))


@contract("RECV-24", "RECV-29")
@pytest.mark.parametrize("ring_flags", [0, DEFERRED], ids=["plain", "deferred"])
def test_stream(make_station: MakeStation, ring_flags: int) -> None:
    """A long stream comes whole through many requests, each but the last CQE with F_MORE."""
    station = make_station(ring_flags=ring_flags)
    flow, total, left = station.flow(), 1 << 20, 1 << 20
    shot = Multishot(station, flow, pool_of(station, count=2, size=128))
    while flow.tally.total < total:
        left -= flow.tcp.feed(left)
        if shot.ended:
            shot.arm()
        received = shot.take()
        assert received.error in (0, errno.ENOBUFS)
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
    flow.drain(total - taken)
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


# -- a completion queue that is too short ----------------------------------------------------------


@contract("RECV-24", "RECV-29")
@pytest.mark.parametrize("ring_flags", [0, DEFERRED], ids=["plain", "deferred"])
@pytest.mark.parametrize("requests", [1, 3])
def test_completion_queue_overflows(
    make_station: MakeStation, ring_flags: int, requests: int
) -> None:
    """More arrivals than the CQ has room for: no byte, page or buffer is lost."""
    station = make_station(ring_flags=ring_flags, cq_entries=64)
    flows = [station.flow() for _ in range(requests)]
    pool = pool_of(station, 256, 64)
    shots, stopped = {}, 0
    for flow in flows:
        shot = Multishot(station, flow, pool, readlen=10)
        shot.arm()
        shots[shot.request] = shot
    for _ in range(4):
        for flow in flows:
            flow.tcp.send(300)
    for flow in flows:
        wait_until(flow.tcp.acknowledged, "an acknowledgement")

    def due() -> bool:
        return any(flow.tally.total < 1200 for flow in flows)

    while due():
        for cqe in station.ring.wait(1):
            shot = shots[cqe.user_data]
            received = shot.see(cqe)
            assert received.error in (0, errno.ENOBUFS)
            stopped += shot.ended and received.length > 0
            if shot.ended and shot.flow.tally.total < 1200:
                del shots[cqe.user_data]
                shot.arm()
                shots[shot.request] = shot
    assert stopped, "the completion queue was never full"
    assert station.ring.lost == 0
    assert all(flow.tcp.queued() == 0 for flow in flows)


@contract("RECV-24", "RECV-29")
@pytest.mark.parametrize("ring_flags", [0, DEFERRED], ids=["plain", "deferred"])
def test_single_completions_overflow(make_station: MakeStation, ring_flags: int) -> None:
    """So it is with single requests: what the CQ has no room for waits in the kernel."""
    station = make_station(ring_flags=ring_flags, cq_entries=64)
    flow, pool, count = station.flow(), pool_of(station, 128, 16), 100
    flow.tcp.send(count)
    flow.tcp.wait_queued(count)
    for _ in range(2):
        for _ in range(count // 2):
            station.ring.push(flow.receiver.sqe_select(1, META))
        station.ring.submit()
    assert station.ring.overflowed
    for cqe in station.ring.wait(count):
        received = flow.receiver.decode(cqe, pool.used(cqe))
        assert received.length == 1, cqe
        flow.receiver.give_back(flow.accept(received))
    assert station.ring.lost == 0


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
