# SPDX-License-Identifier: GPL-2.0
"""The region runs out of buffers, and recovers: nothing lost, doubled or out of place."""

from collections.abc import Callable

import pytest

from fixtures.stations import Flow, MakeStation, Station
from lib.deadline import wait_until
from lib.zerocopy import Chunk
from netns import ethtool

contract = pytest.mark.contract
pytestmark = pytest.mark.usefixtures("prompt_frees")
PAGES, TOTAL = 64, 1 << 20  # the stream is four times the region
LEAP = 32 << 10


def starved(station: Station) -> Callable[[], bool]:
    """Whether the device has asked for a buffer in vain since now."""
    entry = station.debug()
    before = entry.counters().alloc_fail
    return lambda: entry.counters().alloc_fail > before


def hoard(station: Station, flow: Flow) -> tuple[int, list[Chunk]]:
    """Send, receive, give nothing back until the device starves: bytes sent, pieces held."""
    held: list[Chunk] = []
    out_of_buffers, sent = starved(station), flow.tcp.feed(LEAP)

    def something() -> bool:
        return flow.tcp.queued() > 0 or out_of_buffers()

    while wait_until(something, station.debug().dump, 5) and flow.tcp.queued():
        held += flow.take(flow.tcp.queued())
        sent += flow.tcp.feed(LEAP)
    return sent, held


@contract("FILL-5", "DEV-4", "BUF-3", "RECV-19")
def test_slow_user(make_station: MakeStation) -> None:
    """A user who keeps all pages stops the stream; it goes on when he gives them back."""
    station = make_station(pages=PAGES)
    flow, dropped = station.flow(), ethtool.drops(station.link.rx)
    sent, held = hoard(station, flow)
    assert flow.tally.zero_copy
    assert ethtool.drops(station.link.rx) > dropped
    assert station.debug().accounting().conserved
    offset = 0
    for chunk in held:
        flow.tcp.check.pattern.check(offset, chunk.data)
        offset += len(chunk.data)
    flow.receiver.give_back(held)
    while flow.tally.total < TOTAL:
        sent += flow.tcp.feed(TOTAL - sent)
        flow.receiver.give_back(flow.accept(flow.receiver.receive()))
    assert station.debug().counters().from_fill > 0


@contract("FILL-5", "DEV-4")
def test_sockets_that_are_not_read(make_station: MakeStation) -> None:
    """Data parked in sockets uses up the region; reading it brings the stream back."""
    station = make_station(pages=PAGES)
    flows = [station.flow(4, rcvbuf=4 << 20), station.flow(6, rcvbuf=4 << 20)]
    out_of_buffers, sent = starved(station), [0, 0]

    def feed() -> bool:
        for number, flow in enumerate(flows):
            sent[number] += flow.tcp.feed(TOTAL // 2 - sent[number])
        return out_of_buffers()

    def due() -> bool:
        feed()  # the sender may have got rid of all it had, with more to come
        return all(flow.tally.total == TOTAL // 2 for flow in flows) or any(
            flow.tcp.queued() for flow in flows
        )

    def standing() -> str:
        taken = [flow.tally.total for flow in flows]
        return f"sent {sent}, received {taken} of {TOTAL // 2} each\n{station.debug().dump()}"

    wait_until(feed, station.debug().dump, 5)
    while any(flow.tally.total < TOTAL // 2 for flow in flows):
        wait_until(due, standing, 10)
        for flow in flows:
            if flow.tcp.queued():
                flow.drain(flow.tcp.queued())


@contract("FILL-5")
def test_again_and_again(make_station: MakeStation) -> None:
    """Three times out of buffers on one stream, three recoveries."""
    station = make_station(pages=16)
    # A small window keeps each frame well below the region: one that needs more pages than there
    # are could never arrive.
    flow, sent = station.flow(rcvbuf=32 << 10), 0
    for _ in range(3):
        more, held = hoard(station, flow)
        sent += more
        flow.receiver.give_back(held)
        flow.drain(sent - flow.tally.total)
    assert flow.tcp.queued() == 0


@contract("FILL-4", "FILL-5")
def test_without_a_fill_group(make_station: MakeStation) -> None:
    """With no group registered the freelist serves, and then the queue has no buffers."""
    station = make_station(pages=PAGES, fill_group=False)
    flow = station.flow()
    hoard(station, flow)
    assert flow.tally.zero_copy
    counters = station.debug().counters()
    assert counters.from_fill == 0
    assert counters.from_freelist > 0
    assert counters.alloc_fail > 0


@contract("REG-24", "FILL-5")
@pytest.mark.parametrize("pages", [1, 2, 5])
def test_tiny_region(make_station: MakeStation, pages: int) -> None:
    """A stream gets through a region of a few pages, byte for byte."""
    flow = make_station(pages=pages).flow(mss=600)
    for _ in range(10):
        flow.tcp.send(500)
        flow.drain(500)
    assert flow.tally.zero_copy
