# SPDX-License-Identifier: GPL-2.0
"""RECV_ZC on rings of every kind (RECV-23)."""

import errno
from dataclasses import replace

import pytest

from fixtures.stations import META, MakeStation, Station
from lib.uring import RecvSend, Setup, SqeFlag, op
from lib.zctap.metadata import MetadataRing

contract = pytest.mark.contract


@pytest.fixture
def any_ring(make_station: MakeStation, ring_kind: Setup) -> Station:
    """A station whose ring was set up with these flags."""
    return make_station(ring_flags=ring_kind)


@contract("RECV-23", "RECV-19")
@pytest.mark.parametrize("flags", [0, SqeFlag.ASYNC], ids=["plain", "async"])
def test_stream(any_ring: Station, flags: int) -> None:
    """A stream comes byte for byte, in the region where the device does that."""
    flow, total, sent = any_ring.flow(), 200_000, 0
    while flow.tally.total < total:
        sent += flow.tcp.feed(total - sent)
        received = flow.receiver.run(replace(flow.receiver.sqe(50_000), flags=flags))
        assert received.length
        flow.receiver.give_back(flow.accept(received))
    assert bool(flow.tally.zero_copy) == any_ring.in_region


@contract("RECV-23", "RECV-17")
def test_waiting_and_cancelling(any_ring: Station) -> None:
    """A request waits and is woken; the next one waits and is cancelled."""
    flow, ring = any_ring.flow(), any_ring.ring
    request = ring.push(flow.receiver.sqe(1000))
    ring.submit()
    flow.tcp.send(100)
    received = flow.receiver.decode(ring.wait_for(request))
    flow.receiver.give_back(flow.accept(received))
    assert received.length == 100
    request = ring.push(flow.receiver.sqe(1000))
    ring.submit()
    assert ring.run(op.cancel(request)).error == 0
    assert ring.wait_for(request).error == errno.ECANCELED
    flow.transfer(1000)


@contract("RECV-23", "RECV-24")
def test_multishot(any_ring: Station) -> None:
    """A multishot request completes for every arrival, and ends with the stream."""
    flow, ring = any_ring.flow(), any_ring.ring
    pool = MetadataRing(ring, META, 4, 1024)
    sqe = replace(flow.receiver.sqe_select(5000, META), ioprio=RecvSend.MULTISHOT)
    request = ring.push(sqe)
    ring.submit()
    for _ in range(6):
        flow.tcp.send(1000)
        while flow.tally.total < flow.tcp.sent.offset:
            cqe = ring.wait_for(request)
            assert cqe.more
            flow.receiver.give_back(flow.accept(flow.receiver.decode(cqe, pool.used(cqe))))
            pool.give(cqe.buffer_id or 0)
    flow.tcp.finish()
    cqe = ring.wait_for(request)
    assert (cqe.res, cqe.more) == (0, False)


@contract("RECV-23", "RECV-17", "REG-19")
def test_closed_with_a_request(any_ring: Station) -> None:
    """The ring goes with a request waiting; the region goes with it, the data does not."""
    flow = any_ring.flow()
    any_ring.ring.push(flow.receiver.sqe(1000))
    any_ring.ring.submit()
    any_ring.close_ring()
    any_ring.gone()
    flow.tcp.send(1000)
    flow.tcp.read(1000)
