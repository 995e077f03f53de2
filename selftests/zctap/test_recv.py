# SPDX-License-Identifier: GPL-2.0
"""RECV_ZC: what is refused and how, waiting, and the end of a stream."""

import errno
import os
import socket
from dataclasses import replace

import pytest

from fixtures.rings import Pair
from fixtures.stations import COPY, FILL, META, Flow, Station
from lib.deadline import wait_until
from lib.uring import BufferPool, CqeFlag, RecvSend, SqeFlag, op
from lib.zctap import addr3

contract = pytest.mark.contract
WAITING = 2000  # bytes that lie in the socket while a call is refused

MSG_ERRQUEUE = 0x2000


@pytest.fixture
def flow(station: Station) -> Flow:
    """A connection with WAITING bytes in its socket."""
    flow = station.flow()
    flow.tcp.send(WAITING)
    flow.tcp.wait_queued(WAITING)
    return flow


def refused(flow: Flow, expected: int, **changes: int) -> None:
    """The call fails with just this errno, takes no byte and no reference (RECV-29)."""
    received = flow.receiver.run(replace(flow.receiver.sqe(WAITING), **changes))
    assert errno.errorcode.get(received.error) == errno.errorcode[expected]
    assert flow.tcp.queued() == WAITING
    flow.drain(WAITING)


@contract("RECV-17", "RECV-29")
def test_cancelled_request(station: Station) -> None:
    """A cancelled request completes with ECANCELED, and data that comes later is not lost."""
    flow = station.flow()
    request = station.ring.push(flow.receiver.sqe(100))
    station.ring.submit()
    assert station.ring.run(op.cancel(request)).res == 0
    assert station.ring.wait_for(request).error == errno.ECANCELED
    flow.transfer(1000)


@contract("RECV-17", "REG-19")
def test_ring_closed_under_a_request(station: Station) -> None:
    """A ring that goes away with a request waiting takes its ifq along."""
    flow = station.flow()
    station.ring.push(flow.receiver.sqe(100))
    station.ring.submit()
    station.close_ring()
    station.gone()
    flow.tcp.send(1000)
    flow.tcp.read(1000)


@contract("RECV-30")
def test_more_to_read_is_announced_truly(flow: Flow) -> None:
    """F_SOCK_NONEMPTY is never set on the completion that empties the socket."""
    while flow.tally.total < WAITING:
        received = flow.receiver.run(flow.receiver.sqe(700))
        flow.receiver.give_back(flow.accept(received))
        if received.cqe.flags & CqeFlag.SOCK_NONEMPTY:
            assert flow.tcp.queued() > 0


@contract("RECV-24", "RECV-29", "RECV-30")
def test_multishot(station: Station) -> None:
    """One request completes for each arrival, armed until its metadata buffers run out."""
    flow = station.flow()
    pool = BufferPool(station.ring, META, 2, 1024)
    multishot = replace(flow.receiver.sqe_select(5000, META), ioprio=RecvSend.MULTISHOT)
    request, sent = station.ring.push(multishot), 0
    station.ring.submit()
    for number in range(2):
        flow.tcp.send(500)
        sent += 500
        cqe = station.ring.wait_for(request)
        assert (cqe.more, cqe.buffer_id) == (True, number)
        flow.receiver.give_back(flow.accept(flow.receiver.decode(cqe, pool.buffer(number))))
        assert flow.tally.total == sent
    flow.tcp.send(500)
    cqe = station.ring.wait_for(request)
    assert (cqe.more, cqe.error) == (False, errno.ENOBUFS)
    wait_until(lambda: flow.tcp.queued() == 500, "500 bytes in the socket")
    flow.drain(500)
