# SPDX-License-Identifier: GPL-2.0
"""Payload in pages that are not this ifq's: copied, and only that (RECV-21)."""

import errno
import os

import pytest

from fixtures.links import QUEUE, UNUSED_QUEUE
from fixtures.registration import taken_over
from fixtures.stations import Flow, MakeStation, Station
from lib.uring import PAGE, Memory
from lib.zctap import Ifq, wait_gone
from lib.zerocopy import Chunk, Region
from netns import Link

contract = pytest.mark.contract
pytestmark = pytest.mark.zero_copy


def load(flow: Flow, size: int) -> None:
    """Send, and wait until it lies in the socket."""
    queued = flow.tcp.queued()
    flow.tcp.send(size)
    flow.tcp.wait_queued(queued + size)


def copied(chunks: list[Chunk], begin: int, end: int) -> int:
    """How many of the bytes from `begin` to `end` of these pieces were copied."""
    found, at = 0, 0
    for chunk in chunks:
        if not chunk.zero_copy:
            found += max(0, min(end, at + len(chunk.data)) - max(begin, at))
        at += len(chunk.data)
    return found


def all_then_little(chunks: list[Chunk]) -> bool:
    """Whether the first 10,000 bytes were copied, and of the next hardly one (RECV-21)."""
    return copied(chunks, 0, 10_000) == 10_000 and copied(chunks, 10_000, 20_000) < 1000


def unregister(station: Station) -> None:
    """Close the ifq while its ring lives; skips where that cannot be had."""
    if station.zctap.unregister_ifq is None:
        pytest.skip("this kernel unregisters an ifq only with its ring")
    ifq = station.ifq
    assert isinstance(ifq, Ifq)
    ifq.close()


@contract("RECV-21")
@pytest.mark.parametrize("queue", [UNUSED_QUEUE, None], ids=["with-ifq", "without"])
def test_region_of_another_ring(
    station: Station,
    make_station: MakeStation,
    make_bare_station: MakeStation,
    queue: int | None,
) -> None:
    """What lies in one ring's region is copied by another, which has one itself or not."""
    other = make_bare_station() if queue is None else make_station(queue=queue)
    flow = station.flow()
    stranger = Flow(flow.tcp, other.receiver(flow.tcp.rx))
    flow.tcp.send(20_000)
    stranger.drain(20_000)
    assert (stranger.tally.copied, stranger.tally.zero_copy) == (20_000, 0)
    flow.transfer(20_000)
    assert flow.tally.zero_copy


@contract("RECV-21", "REL-7")
def test_region_of_a_closed_ifq(station: Station) -> None:
    """What lies in the region of an ifq that has been closed is copied, on the same ring."""
    flow = station.flow()
    load(flow, 20_000)
    unregister(station)
    flow.drain(20_000)
    assert (flow.tally.copied, flow.tally.zero_copy) == (20_000, 0)
    station.gone()


@contract("RECV-21", "REG-20")
def test_ifq_that_followed_another(station: Station) -> None:
    """After unregister and register old data is copied, new data is not, in one stream."""
    flow = station.flow()
    load(flow, 10_000)
    old = station.entry
    unregister(station)
    with Region(64) as region:
        region.register(station.ring, 3)
        station.register(region)
        flow.receiver.region = region
        load(flow, 10_000)
        chunks = flow.take(20_000)
        assert all_then_little(chunks), chunks
        flow.receiver.copy.held.clear()
        flow.receiver.copy.give(*{chunk.bid for chunk in chunks if not chunk.zero_copy})
        flow.tcp.close()
        unregister(station)
        station.gone()
        if old is not None:
            wait_gone(old, station.flush)


@contract("RECV-21", "REL-4")
def test_queue_that_another_ring_has_bound_since(
    station: Station, make_station: MakeStation
) -> None:
    """A ring that took over the queue copies what lies in the region of the ring before it."""
    flow = station.flow()
    load(flow, 10_000)
    station.close_ring()
    successor = make_station(register=False)
    taken_over(successor)  # the ring is taken apart after close(2), by a kernel worker
    reader = Flow(flow.tcp, successor.receiver(flow.tcp.rx))
    load(flow, 10_000)
    chunks = reader.take(20_000)
    assert all_then_little(chunks), chunks
    reader.receiver.give_back(chunks)


@contract("RECV-21", "DEV-2")
def test_steering_that_changes(own_link: Link, make_station: MakeStation) -> None:
    """Frames on the bound queue are reported where they lie, those on the other are copied."""
    station = make_station(own_link, copies=32)
    flow, queues = station.flow(), (QUEUE, UNUSED_QUEUE, QUEUE, UNUSED_QUEUE)
    for queue in queues:
        own_link.steer(queue)
        load(flow, 2000)
    chunks = flow.take(8000)
    for number, queue in enumerate(queues):
        found = copied(chunks, 2000 * number, 2000 * (number + 1))
        # The stack may copy on its own now and then.
        assert found < 1000 if queue == QUEUE else found == 2000, (number, chunks)
    flow.receiver.give_back(chunks)


@contract("RECV-21", "RECV-19")
def test_two_queues_of_two_rings(own_link: Link, make_station: MakeStation) -> None:
    """A stream over two bound queues: either ring reports its own part and copies the other's."""
    stations = [make_station(own_link, queue=queue, copies=32) for queue in (0, 1)]
    flow = stations[0].flow()
    flows = [flow, Flow(flow.tcp, stations[1].receiver(flow.tcp.rx))]
    for number in range(6):
        own_link.steer(number % 2)
        load(flow, 4000)
        for reader in flows:
            reader.drain(2000)
    for reader in flows:
        assert reader.tally.copied >= 6000
        assert reader.tally.zero_copy > 5000


@contract("RECV-21", "RECV-7")
def test_ring_with_a_closed_ifq_can_receive(station: Station) -> None:
    """Without an ifq any more, all that arrives is copied."""
    flow = station.flow()
    flow.transfer(5000)
    assert flow.tally.zero_copy
    unregister(station)
    before = flow.tally.zero_copy
    flow.transfer(5000)
    assert flow.tally.zero_copy == before


@contract("RECV-21")
def test_copying_a_region_needs_buffers(station: Station, make_station: MakeStation) -> None:
    """What another ring must copy waits for its copy buffers, as any data does (RECV-11)."""
    other = make_station(queue=UNUSED_QUEUE, copies=0)
    flow = station.flow()
    stranger = Flow(flow.tcp, other.receiver(flow.tcp.rx))
    load(flow, PAGE)
    stranger.refused(stranger.receiver.sqe(PAGE), errno.ENOBUFS)
    flow.drain(1000)
    other.copy.give(0)
    stranger.drain(PAGE - 1000)
    assert stranger.tally.copied == PAGE - 1000


@contract("RECV-21", "BUF-2")
@pytest.mark.own_device
def test_page_of_the_region_that_was_sent(make_station: MakeStation) -> None:
    """A page of the region that sendfile(2) has sent is no buffer when it arrives: it is copied."""
    fd, pages = os.memfd_create("region"), 256
    try:
        os.ftruncate(fd, pages * PAGE)
        with Memory(pages * PAGE) as memory:
            memory.overlay(fd)
            station = make_station(region=Region(pages, memory=memory), queue=UNUSED_QUEUE)
            flow, last = station.flow(), pages - 1  # the device has the first ones
            station.region.piece(last, 0, PAGE)[:] = flow.tcp.sent.take(PAGE)
            assert os.sendfile(flow.tcp.tx.fileno(), fd, last * PAGE, PAGE) == PAGE
            flow.tcp.wait_queued(PAGE)
            chunks = flow.take(PAGE)
            assert not any(chunk.zero_copy for chunk in chunks), chunks
            flow.receiver.give_back(chunks)
            station.close()
    finally:
        os.close(fd)
