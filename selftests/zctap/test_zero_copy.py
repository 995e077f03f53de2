# SPDX-License-Identifier: GPL-2.0
"""True zero-copy: payload that arrives on the bound queue is reported where it landed."""

from itertools import pairwise

import pytest

from fixtures.stations import Flow, MakeStation, Station
from lib.uring import PAGE
from lib.zerocopy import Chunk
from netns import Link, ethtool

contract = pytest.mark.contract
pytestmark = pytest.mark.zero_copy
both_families = pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])

# The stack may copy now and then (RECV-21): tiny segments joined, a receive buffer under
# pressure. A receiver that keeps up sees little of that; more would be no zero-copy receive.
MOSTLY = 0.98


def mostly_zero_copy(flow: Flow) -> None:
    """Nearly all bytes of the flow came by way of the region."""
    assert flow.tally.zero_copy >= MOSTLY * flow.tally.total, flow.tally


@contract("DEV-1", "RECV-19", "DBG-5")
@both_families
@pytest.mark.parametrize("size", [1, 100, 1400])
def test_one_segment_lands_in_the_region(station: Station, family: int, size: int) -> None:
    """A single segment is all in the region, in one page, with one user reference."""
    flow = station.flow(family)
    flow.tcp.send(size)
    chunks = flow.take(size)
    assert [chunk.zero_copy for chunk in chunks] == [True]
    station.at_rest()
    users = {line.page: line.user for line in station.debug().refs() if line.user}
    assert users == {chunks[0].bid: 1}
    counters = station.debug().counters()
    assert (counters.zc_iovs, counters.zc_bytes) == (1, size)
    assert (counters.copy_iovs, counters.copy_bytes) == (0, 0)
    flow.receiver.give_back(chunks)


@contract("DEV-1", "RECV-19", "RECV-29", "BUF-2", "DBG-5")
@both_families
def test_megabytes_arrive_in_the_region(station: Station, family: int) -> None:
    """2 MiB come byte for byte, nearly all zero-copy, every piece counted, every page back."""
    flow, total = station.flow(family), 2 << 20
    flow.transfer(total)
    mostly_zero_copy(flow)
    counters = station.debug().counters()
    assert (counters.zc_bytes, counters.copy_bytes) == (flow.tally.zero_copy, flow.tally.copied)
    assert counters.zc_iovs + counters.copy_iovs == flow.tally.pieces
    assert (counters.fill_invalid, counters.fill_not_owned) == (0, 0)


@pytest.fixture
def segments_link(own_link: Link) -> Link:
    """A link whose sender makes a frame of every segment."""
    ethtool.set_tso(own_link.tx, False)
    return own_link


@contract("DEV-1", "RECV-19")
@both_families
def test_small_segments_arrive_in_the_region(
    segments_link: Link, make_station: MakeStation, family: int
) -> None:
    """Small segments, ten at a time, come byte for byte, nearly all zero-copy."""
    flow, before = make_station(segments_link).flow(family, mss=600), segments_link.rx.stats()
    for _ in range(15):
        flow.transfer(6000)
    frames = segments_link.rx.stats()["rx_packets"] - before["rx_packets"]
    assert frames >= flow.tally.total // 600
    mostly_zero_copy(flow)


@contract("RECV-21", "RECV-29", "BUF-2")
def test_receive_buffer_under_pressure(segments_link: Link, make_station: MakeStation) -> None:
    """Where the stack joins segments to save memory, data may be copied, but none is wrong.

    A page for each 600 bytes is more than the socket's receive buffer stands.
    """
    station = make_station(segments_link)
    flow = station.flow(mss=600)
    flow.transfer(100 << 10)
    counters = station.debug().counters()
    assert (counters.zc_bytes, counters.copy_bytes) == (flow.tally.zero_copy, flow.tally.copied)
    assert flow.tally.zero_copy


@contract("RECV-19", "BUF-3")
def test_bytes_stay_until_the_page_is_given_back(station: Station) -> None:
    """Pages the user holds keep their bytes while the rest of the region turns over."""
    flow = station.flow()
    flow.tcp.send(50_000)
    held = flow.take(50_000)
    flow.transfer(station.region.size)
    offset = 0
    for chunk in held:
        flow.tcp.check.pattern.check(offset, chunk.data)
        offset += len(chunk.data)
    flow.receiver.give_back(held)


@contract("BUF-3", "RECV-29")
def test_held_pages_are_all_different(station: Station) -> None:
    """Pieces held at the same time never lie over each other."""
    flow = station.flow()
    flow.tcp.send(60_000)
    chunks = flow.take(60_000)
    spans: dict[int, list[tuple[int, int]]] = {}
    for chunk in chunks:
        if chunk.zero_copy:
            span = (chunk.offset, chunk.offset + len(chunk.data))
            spans.setdefault(chunk.bid, []).append(span)
    for page, pieces in spans.items():
        pieces.sort()
        pairs = pairwise(pieces)
        assert all(first[1] <= second[0] for first, second in pairs), (page, pieces)
    flow.receiver.give_back(chunks)


@contract("RECV-18", "BUF-2")
def test_one_page_in_several_calls(station: Station) -> None:
    """A segment read in three calls is three pieces of a page and three user references."""
    flow = station.flow()
    flow.tcp.send(1000)
    flow.tcp.wait_queued(1000)
    chunks = flow.take(1000, readlen=400)
    assert [len(chunk.data) for chunk in chunks] == [400, 400, 200]
    assert all(chunk.zero_copy for chunk in chunks)
    assert len({chunk.bid for chunk in chunks}) == 1
    station.at_rest()
    assert [line.user for line in station.debug().refs() if line.user] == [3]
    flow.receiver.give_back(chunks)


@contract("RECV-18")
@pytest.mark.parametrize("readlen", [1, 1447, PAGE, PAGE + 1, 10_001])
def test_readlen_bounds_a_call(station: Station, readlen: int) -> None:
    """No call delivers more than readlen, and the stream goes on behind it."""
    station.flow().bounded(readlen, 30_000)


@contract("RECV-18")
@pytest.mark.parametrize("iovs", [1, 3])
def test_metadata_bounds_a_call(station: Station, iovs: int) -> None:
    """A call reports no more pieces than the metadata has room for, and writes nothing else."""
    flow, total = station.flow(iovs=iovs + 1), (iovs + 2) * PAGE  # a piece lies in one page
    room, spare = iovs * 16, slice(iovs * 16, None)
    flow.receiver.metadata.view[spare] = b"\xee" * len(flow.receiver.metadata.view[spare])
    flow.tcp.send(total)
    flow.tcp.wait_queued(total)
    while flow.tally.total < total:
        received = flow.receiver.run(flow.receiver.sqe(total, room=room))
        assert received.error == 0
        assert 0 < len(received.chunks) <= iovs
        flow.receiver.give_back(flow.accept(received))
    assert not bytes(flow.receiver.metadata.view[spare]).strip(b"\xee")


@contract("BUF-4", "BUF-2")
def test_pages_are_conserved_on_the_way(station: Station) -> None:
    """Every page is counted once: before, with data in the socket, held, and given back."""
    entry, flow = station.debug(), station.flow()
    seen = [entry.accounting()]
    flow.tcp.send(40_000)
    flow.tcp.wait_queued(40_000)
    seen.append(entry.accounting())
    assert seen[-1].skb > 0
    chunks: list[Chunk] = flow.take(40_000)
    station.at_rest()
    seen.append(entry.accounting())
    assert seen[-1].user == len(flow.tally.pages)
    flow.receiver.give_back(chunks)
    seen.append(entry.accounting())
    assert all(snapshot.conserved for snapshot in seen), seen
    assert {snapshot.pages for snapshot in seen} == {station.region.pages}


@contract("RECV-19", "RECV-21")
def test_two_sockets_share_a_queue(station: Station) -> None:
    """Two streams through one region do not mix."""
    flows = [station.flow(4), station.flow(6)]
    for _ in range(4):
        for flow in flows:
            flow.tcp.send(20_000)
        for flow in flows:
            flow.drain(20_000)
    for flow in flows:
        mostly_zero_copy(flow)
