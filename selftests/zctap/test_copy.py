# SPDX-License-Identifier: GPL-2.0
"""The copy fallback: payload that is not in the region comes through the copy ring."""

import errno

import pytest

from fixtures.links import UNUSED_QUEUE
from fixtures.stations import MakeStation, Station
from lib.uring import PAGE

contract = pytest.mark.contract


@contract("RECV-21", "DEV-2", "DBG-5")
@pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])
def test_other_queues_data_is_copied(bystander: Station, family: int) -> None:
    """What arrives on an unbound queue is copied, whole, and leaves the region alone."""
    flow = bystander.flow(family)
    flow.transfer(200_000)
    assert (flow.tally.copied, flow.tally.zero_copy) == (200_000, 0)
    counters, accounting = bystander.debug().counters(), bystander.debug().accounting()
    assert (counters.copy_bytes, counters.zc_bytes) == (200_000, 0)
    assert counters.copy_iovs == flow.tally.pieces
    assert accounting.free + accounting.driver == accounting.pages


@contract("RECV-7")
def test_ring_without_ifq_copies(make_bare_station: MakeStation) -> None:
    """On a ring without an ifq RECV_ZC works and copies."""
    flow = make_bare_station().flow()
    flow.transfer(10_000)
    assert (flow.tally.copied, flow.tally.zero_copy) == (10_000, 0)


@contract("RECV-11", "RECV-29", "DBG-5")
def test_without_copy_buffers_data_stays_in_the_socket(make_station: MakeStation) -> None:
    """With no copy buffer it is ENOBUFS, counted; after a refill the data comes whole."""
    station = make_station(queue=UNUSED_QUEUE, copies=0)
    flow = station.flow()
    flow.tcp.send(3000)
    flow.tcp.wait_queued(3000)
    for _ in range(2):
        received = flow.receiver.run(flow.receiver.sqe(3000))
        assert (received.error, received.chunks) == (errno.ENOBUFS, [])
        assert flow.tcp.queued() == 3000
    assert station.debug().counters().recv_enobufs == 2
    assert station.debug().counters().copy_iovs == 0
    station.copy.give(0)
    flow.drain(3000)


@contract("RECV-12")
def test_copy_buffers_that_run_out_midway(make_station: MakeStation) -> None:
    """What was copied before the buffers ran out is delivered, the rest after a refill."""
    station = make_station(queue=UNUSED_QUEUE, copies=2)
    flow, total = station.flow(), 4 * PAGE
    flow.tcp.send(total)
    flow.tcp.wait_queued(total)
    received = flow.receiver.run(flow.receiver.sqe(total))
    first = flow.accept(received)
    assert received.error == 0
    assert 0 < received.length <= 2 * PAGE
    assert flow.tcp.queued() == total - received.length
    while not (received := flow.receiver.run(flow.receiver.sqe(total))).error:
        first += flow.accept(received)
    assert received.error == errno.ENOBUFS
    assert flow.tally.total <= 2 * PAGE
    flow.receiver.give_back(first)
    flow.drain(total - flow.tally.total)


@contract("RECV-20")
def test_copy_buffer_is_not_shared_between_calls(bystander: Station) -> None:
    """Two calls use different copy buffers, however little the first one took."""
    flow = bystander.flow()
    flow.tcp.send(300)
    flow.tcp.wait_queued(300)
    calls = [flow.accept(flow.receiver.receive(100)) for _ in range(3)]
    groups = [{chunk.bid for chunk in chunks} for chunks in calls]
    assert all(groups)
    assert sum(map(len, groups)) == len(set.union(*groups))
    for chunks in calls:
        flow.receiver.give_back(chunks)


@contract("RECV-20", "RECV-19")
def test_pieces_in_one_copy_buffer_do_not_overlap(bystander: Station) -> None:
    """In one call the pieces of a copy buffer lie at rising offsets and do not overlap."""
    flow = bystander.flow()
    flow.tcp.segments(*[100] * 20)
    flow.tcp.wait_queued(2000)
    chunks = flow.take(2000)
    ends: dict[int, int] = {}
    for chunk in chunks:
        assert chunk.offset >= ends.get(chunk.bid, 0)
        ends[chunk.bid] = chunk.offset + len(chunk.data)
    flow.receiver.give_back(chunks)


@contract("RECV-18")
@pytest.mark.parametrize("size", [PAGE, 100])
def test_nothing_is_written_around_the_copies(make_station: MakeStation, size: int) -> None:
    """Of the copy buffers only the bytes reported change, of the metadata only the iovs.

    size: of a copy buffer, which small ones fill to the end.
    """
    station = make_station(queue=UNUSED_QUEUE, copies=64, copy_size=size)
    flow = station.flow(iovs=8)
    copies, metadata = station.copy.memory.view, flow.receiver.metadata.view
    copies[:] = b"\xee" * len(copies)
    metadata[:] = b"\xee" * len(metadata)
    flow.tcp.send(5000)
    flow.tcp.wait_queued(5000)
    received = flow.receiver.run(flow.receiver.sqe(3333))
    chunks = flow.accept(received)
    assert metadata[received.cqe.res :] == b"\xee" * (len(metadata) - received.cqe.res)
    written = sum(len(chunk.data) for chunk in chunks)
    assert written <= 3333
    for chunk in chunks:
        chunk.data[:] = b"\xee" * len(chunk.data)
    assert copies == b"\xee" * len(copies)
    flow.receiver.give_back(chunks)
    flow.drain(5000 - written)


@contract("RECV-18")
@pytest.mark.parametrize("readlen", [1, 999, PAGE, PAGE + 1])
def test_readlen_bounds_a_copying_call(bystander: Station, readlen: int) -> None:
    """No call delivers more than readlen, and the stream goes on behind it."""
    bystander.flow().bounded(readlen, 3 * PAGE)


@contract("RECV-18")
def test_metadata_bounds_a_copying_call(bystander: Station) -> None:
    """With room for one iov each call reports one, and the stream goes on behind it."""
    flow, total = bystander.flow(iovs=1), 3 * PAGE
    flow.tcp.send(total)
    flow.tcp.wait_queued(total)
    flow.drain(total)
    assert flow.tally.pieces >= 3
