# SPDX-License-Identifier: GPL-2.0
"""Urgent data: RECV_ZC passes it over as recv(2) does (RECV-25)."""

import errno
import select
import socket
from dataclasses import replace

import pytest

from fixtures.stations import META, Station
from fixtures.ways import Way
from lib.deadline import wait_until
from lib.uring import PAGE, Memory, RecvSend
from lib.zctap.abi import IOV_SIZE
from lib.zctap.metadata import MetadataRing
from netns import Connection

contract = pytest.mark.contract


def wait_urgent(tcp: Connection) -> None:
    """Wait until it has arrived."""
    wait_until(lambda: select.select([], [], [tcp.rx], 0)[2], "urgent data")


@contract("RECV-25")
@pytest.mark.parametrize(
    ("before", "after", "read"),
    [(0, 500, True), (500, 0, False), (500, 700, True), (5000, 20_000, False)],
)
def test_urgent_byte_is_passed_over(way: Way, before: int, after: int, read: bool) -> None:
    """The stream is what comes before and after the urgent byte, read or not, to its end."""
    if before:
        way.tcp.send(before)
    way.tcp.urgent()
    wait_urgent(way.tcp)
    if read:
        assert way.tcp.rx.recv(1, socket.MSG_OOB) == b"!"
    if after:
        way.tcp.send(after)
    way.drain(before + after)
    way.tcp.finish()
    assert way.run(100) == 0


@contract("RECV-25")
def test_urgent_byte_behind_what_was_asked_for(way: Way) -> None:
    """A request that is satisfied before the urgent byte leaves that to recv(MSG_OOB)."""
    way.tcp.send(500)
    way.tcp.urgent()
    wait_urgent(way.tcp)
    assert way.run(500) == 500
    assert way.tcp.rx.recv(1, socket.MSG_OOB) == b"!"
    way.tcp.send(100)
    way.drain(100)


@contract("RECV-25")
def test_urgent_byte_does_not_wake(way: Way) -> None:
    """A request does not complete when all that arrives is an urgent byte."""
    request = way.start(100)
    way.tcp.urgent()
    # It is not seen by select(2): the request has been woken, and has passed over it.
    wait_until(way.tcp.acknowledged, "an acknowledgement")
    assert way.ring.reap() == []
    way.tcp.send(100)
    got = way.finish(request)
    assert got > 0
    way.drain(100 - got)


@contract("RECV-25", "RECV-29", "RECV-9")
def test_error_behind_an_urgent_byte(either_station: Station) -> None:
    """What was taken before the urgent byte is reported, also if what follows cannot be.

    Or it is EFAULT and nothing is taken, as where all of the metadata buffer is looked at first.
    """
    ring, flow = either_station.ring, either_station.flow()
    flow.tcp.send(500)
    flow.tcp.urgent()
    wait_urgent(flow.tcp)
    flow.tcp.send(500)
    wait_until(flow.tcp.acknowledged, "an acknowledgement")
    memory = Memory(2 * PAGE)
    ring.on_close(memory.close)
    begin = PAGE - IOV_SIZE  # the second iov would be in the next page
    sqe = replace(flow.receiver.sqe(1000), addr=memory.addr + begin, len=2 * IOV_SIZE)
    queued = flow.tcp.queued()
    with memory.protected(at=PAGE):
        cqe = ring.run(sqe)
    if cqe.error == errno.EFAULT:
        left = flow.tcp.queued()
        assert left == queued, f"{cqe}: {left} bytes left of {queued}, expected all of them"
        flow.drain(1000)
        return
    assert cqe.res == IOV_SIZE, f"{cqe}, expected one iov, or EFAULT and nothing taken"
    flow.receiver.give_back(flow.accept(flow.receiver.decode(cqe, memory.view[begin:PAGE])))
    flow.drain(500)


@contract("RECV-25")
def test_urgent_bytes_one_after_the_other(way: Way) -> None:
    """Each of several urgent bytes is passed over."""
    for _ in range(3):
        way.tcp.send(100)
        way.tcp.urgent()
        way.tcp.send(100)
        way.drain(200)
    way.tcp.finish()
    assert way.run(100) == 0


@contract("RECV-25")
@pytest.mark.parametrize("length", [0, 100])
def test_urgent_byte_and_the_end(way: Way, length: int) -> None:
    """An urgent byte right before the end of the stream: 0, not a wait."""
    if length:
        way.tcp.send(length)
    way.tcp.urgent()
    way.tcp.finish()
    way.drain(length)
    assert way.run(100) == 0


@pytest.mark.own_sender
@contract("RECV-25")
def test_urgent_byte_in_line(way: Way) -> None:
    """With SO_OOBINLINE the urgent byte is a byte of the stream."""
    way.tcp.rx.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    way.tcp.send(300)
    way.tcp.tx.send(way.tcp.sent.take(1), socket.MSG_OOB)
    way.tcp.send(300)
    way.drain(601)


@contract("RECV-25", "RECV-24")
def test_urgent_bytes_and_multishot(either_station: Station) -> None:
    """A multishot request passes over each of several urgent bytes, and is not ended by it."""
    ring, flow = either_station.ring, either_station.flow()
    pool = MetadataRing(ring, META, 16, 256)
    sqe = flow.receiver.sqe_select(5000, META)
    request = ring.push(replace(sqe, ioprio=RecvSend.MULTISHOT))
    ring.submit()
    for _ in range(3):
        flow.tcp.urgent()
        wait_until(flow.tcp.acknowledged, "an acknowledgement")
        found = ring.reap()
        assert found == [], f"{found} for an urgent byte, expected nothing"
        flow.tcp.send(100)
        while flow.tally.total < flow.tcp.sent.offset:
            cqe = ring.wait_for(request)
            assert cqe.more, f"{cqe} behind an urgent byte, expected F_MORE"
            flow.receiver.give_back(flow.accept(flow.receiver.decode(cqe, pool.used(cqe))))
    flow.tcp.finish()
    cqe = ring.wait_for(request)
    assert (cqe.res, cqe.more) == (0, False), f"{cqe}, expected the end of the stream"
    pool.used(cqe)
