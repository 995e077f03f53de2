# SPDX-License-Identifier: GPL-2.0
"""Receiving while memory or a copy to the user fails: nothing of the stream is lost or doubled."""

import errno
import socket
import struct
from collections import Counter
from dataclasses import replace

import pytest

from fixtures.copies import no_copy_lost
from fixtures.faults import Log
from fixtures.stations import META, Flow, MakeStation, Station
from fixtures.ways import Way
from lib.deadline import scaled, wait_until
from lib.faults import MEMORY, PAGES, USERCOPY, Faults, Shot
from lib.uring import Cqe, Setup, Sqe, SqeFlag, op
from lib.uring.abi import Enter, RecvSend
from lib.uring.syscalls import enter
from lib.zctap.metadata import MetadataRing

contract = pytest.mark.contract

SIZE = 6000  # bytes: several segments, several iovs
TIMES = 8  # more than a call could try again
# What fails for longer; of the other kind just one fails, at each place in turn.
lasting = pytest.mark.parametrize("lasting", [MEMORY, USERCOPY], ids=["memory", "copies"])


class Mode:
    """One way to ask: how the submission looks, and where the iovs are."""

    flow: Flow

    def __init__(self, station: Station, *, select: bool, multishot: bool) -> None:
        self.station, self.ring, self.multishot = station, station.ring, multishot
        self.metadata = MetadataRing(station.ring, META, 4, 256) if select else None
        self.connect()

    def connect(self) -> None:
        """Go on with a new connection."""
        self.flow = self.station.flow()

    def send(self) -> None:
        """Send SIZE bytes, and see them arrive."""
        self.flow.tcp.send(SIZE)
        self.flow.tcp.wait_queued(SIZE)

    def sqe(self) -> Sqe:
        """The submission for SIZE bytes."""
        if self.metadata is None:
            return self.flow.receiver.sqe(SIZE)
        sqe = self.flow.receiver.sqe_select(SIZE, META)
        return replace(sqe, ioprio=RecvSend.MULTISHOT) if self.multishot else sqe

    def accept(self, cqe: Cqe) -> int:
        """Check a completion and what it brought, and give all of it back; how many bytes."""
        view = None
        if self.metadata is not None:
            view = self.metadata.used(cqe)
        received = self.flow.receiver.decode(cqe, view)
        self.flow.receiver.give_back(self.flow.accept(received))
        if self.metadata is not None and cqe.buffer_id is not None:
            self.metadata.give(cqe.buffer_id)
        return received.length

    def finish(self, shot: Shot, request: int, log: Log) -> None:
        """Take what the request completes with until it ends, and check that this is all."""
        # A multishot request that can be neither armed nor handed to a worker is cancelled.
        also = (errno.ECANCELED,) if self.multishot and shot.sites & {MEMORY, PAGES} else ()
        got, more = 0, True
        while more and got < SIZE:
            cqe = self.ring.wait_for(request)
            got, more = got + self.accept(cqe), cqe.more
            log.note(shot, cqe.error, *also)
            assert self.multishot or not more, f"{shot}: {cqe}"
        left = self.flow.tcp.queued()
        assert left == SIZE - got, f"{shot}: {got} of {SIZE} bytes reported, {left} left"
        self.flow.drain(left)
        if more:
            self.flow.tcp.finish()
            cqe = self.ring.wait_for(request)
            assert cqe.res in {0, *(-error for error in also)}, f"{shot}: {cqe} at the end"
            assert not cqe.more, f"{shot}: {cqe} after the end"
            self.accept(cqe)
        if self.multishot:
            self.flow.tcp.close()
            self.connect()


either_way = pytest.mark.parametrize("multishot", [False, True], ids=["single", "multishot"])


@contract("RECV-9", "RECV-29", "RECV-30")
@either_way
@lasting
def test_data_that_is_there(
    faults: Faults, either_station: Station, multishot: bool, lasting: str
) -> None:
    """Each allocation and each copy of a call that finds its data fails in turn."""
    station, log = either_station, Log()
    mode = Mode(station, select=True, multishot=multishot)
    for shot in faults.shots(lasting, TIMES):
        mode.send()
        request = station.ring.push(mode.sqe())
        shot.run(station.ring.submit)
        log.note(shot, shot.error, errno.EAGAIN)  # no memory for the request: it stays queued
        mode.finish(shot, request, log)
    no_copy_lost(station)
    assert log.fired[USERCOPY] >= 1, log
    assert log.said["EFAULT"] or lasting != USERCOPY, log


@contract("RECV-9", "RECV-14", "RECV-29", "RECV-30")
@either_way
@lasting
def test_data_that_comes_later(
    faults: Faults, make_station: MakeStation, multishot: bool, lasting: str
) -> None:
    """Each allocation and each copy fails when a waiting request gets its data."""
    station, log = make_station(ring_flags=Setup.SINGLE_ISSUER | Setup.DEFER_TASKRUN), Log()
    mode = Mode(station, select=multishot, multishot=multishot)
    for shot in faults.shots(lasting, TIMES):
        request = station.ring.push(mode.sqe())
        station.ring.submit()
        mode.send()
        assert not station.ring.ready()
        shot.run(lambda: enter(station.ring.fd, 0, 0, Enter.GETEVENTS, 0, 0))
        log.note(shot, shot.error)
        mode.finish(shot, request, log)
    assert log.fired[USERCOPY] >= 1, log
    assert log.said["EFAULT"] or lasting != USERCOPY, log


@contract("RECV-17", "RECV-23")
def test_cancelled_while_it_blocks(faults: Faults, way: Way) -> None:
    """Without memory for its poll a request blocks in a worker: EINTR when it is cancelled.

    It does so for RECV. Another allocation may fail in its stead: then it waits by poll, as ever.
    """
    said = Counter[str]()
    for _ in range(20):
        with faults.atomic_failure(0) as failed:
            request = way.start(100, flags=SqeFlag.ASYNC)
            wait_until(failed, "nothing was made to fail")
        assert way.ring.run(op.cancel(request)).res in (0, -errno.EALREADY)
        said[errno.errorcode[-way.finish(request)]] += 1
        if said["EINTR"] >= 3:
            break
    assert set(said) <= {"ECANCELED", "EINTR"}, f"{said}, expected ECANCELED or EINTR"
    way.tcp.send(1000)
    way.tcp.wait_queued(1000)
    way.drain(1000)
    if not said["EINTR"]:
        pytest.skip(f"{dict(said)}: no request has blocked in a worker")


@contract("RECV-14", "RECV-15", "RECV-16", "RECV-23")
@pytest.mark.parametrize(
    ("what", "expected"), [("data", 100), ("end", 0), ("reset", -errno.ECONNRESET)]
)
def test_what_comes_while_it_blocks(faults: Faults, way: Way, what: str, expected: int) -> None:
    """A request that blocks in a worker ends as one that waits by poll does."""
    for _ in range(8):
        each = Way(way.station, way.station.flow(), zero_copy=way.zero_copy)
        with faults.atomic_failure(0) as failed:
            request = each.start(100, flags=SqeFlag.ASYNC)
            wait_until(failed, "nothing was made to fail")
        clock = way.ring.push(op.timeout(0.02))  # for the worker to get that far
        assert [cqe.user_data for cqe in way.ring.wait(1)] == [clock]
        if what == "data":
            each.tcp.send(100)
        elif what == "end":
            each.tcp.finish()
        else:
            each.tcp.reset()
        said = each.finish(request)
        assert said == expected, f"{what}: {said}, expected {expected}"


@contract("RECV-25", "RECV-23")
def test_receive_timeout_while_it_blocks(faults: Faults, way: Way) -> None:
    """SO_RCVTIMEO ends a request that blocks in a worker: EAGAIN, as RECV says.

    One that waits by poll all the same is not ended by it, and so cancelled after a while.
    """
    way.tcp.rx.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 10_000))
    said = Counter[str]()
    for _ in range(10):
        with faults.atomic_failure(0) as failed:
            request = way.start(100, flags=SqeFlag.ASYNC)
            wait_until(failed, "nothing was made to fail")
        try:
            cqe = way.ring.wait_for(request, scaled(0.2))
        except TimeoutError:
            way.ring.run(op.cancel(request))
            cqe = way.ring.wait_for(request)
        said[errno.errorcode[-way.accept(cqe)]] += 1
        if said["EAGAIN"] >= 3 or said["EINTR"]:
            break
    assert set(said) <= {"EAGAIN", "ECANCELED"}, f"{said}, expected EAGAIN, or ECANCELED by poll"
    way.tcp.send(1000)
    way.tcp.wait_queued(1000)
    way.drain(1000)
    if not said["EAGAIN"]:
        pytest.skip(f"{dict(said)}: no request has blocked in a worker")
