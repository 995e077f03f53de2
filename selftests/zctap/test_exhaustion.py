# SPDX-License-Identifier: GPL-2.0
"""The region runs out of buffers, and recovers: nothing lost, doubled or out of place."""

import pytest

from fixtures.exhausted import SEGMENT, Exhausted
from fixtures.sampling import Watch
from fixtures.stations import Flow, MakeStation, Station
from lib.deadline import wait_until
from lib.zerocopy import Chunk
from netns import Link, ethtool
from netns.tcp_info import segments

contract = pytest.mark.contract
pytestmark = [pytest.mark.zero_copy, pytest.mark.usefixtures("prompt_frees")]
PAGES, TOTAL = 64, 1 << 20  # the stream is four times the region
LEAP = 32 << 10


class Drops:
    """Frames that the device dropped since now."""

    def __init__(self, station: Station) -> None:
        self.station = station
        self._before = ethtool.drops(station.link.rx)

    def count(self) -> int:
        """How many."""
        return ethtool.drops(self.station.link.rx) - self._before

    def starved(self) -> bool:
        """Whether there is no free page and a frame has been dropped."""
        return self.station.debug().accounting().free == 0 and self.count() > 0


def hoard(station: Station, flow: Flow) -> tuple[int, list[Chunk]]:
    """Send, receive, give nothing back until frames are dropped: bytes sent, pieces held."""
    held: list[Chunk] = []
    drops, sent = Drops(station), flow.tcp.feed(LEAP)

    def something() -> bool:
        return flow.tcp.queued() > 0 or drops.starved()

    while wait_until(something, station.debug().dump, 5) and flow.tcp.queued():
        held += flow.take(flow.tcp.queued())
        sent += flow.tcp.feed(LEAP)
    return sent, held


@contract("FILL-5", "DEV-4", "BUF-3", "BUF-4", "RECV-19")
def test_slow_user(make_station: MakeStation, watch: Watch) -> None:
    """A user who keeps all pages stops the stream; it goes on when he gives them back."""
    station = make_station(pages=PAGES)
    watch(station)
    flow = station.flow()
    sent, held = hoard(station, flow)
    assert flow.tally.zero_copy
    offset = 0
    for chunk in held:
        flow.tcp.check.pattern.check(offset, chunk.data)
        offset += len(chunk.data)
    flow.receiver.give_back(held)
    while flow.tally.total < TOTAL:
        sent += flow.tcp.feed(TOTAL - sent)
        flow.receiver.give_back(flow.accept(flow.receiver.receive()))
    assert station.debug().counters().from_fill > 0


@contract("FILL-5", "DEV-4", "BUF-4")
def test_sockets_that_are_not_read(make_station: MakeStation, watch: Watch) -> None:
    """Data parked in sockets uses up the region; reading it brings the stream back."""
    station = make_station(pages=PAGES)
    watch(station)
    flows = [station.flow(4, rcvbuf=4 << 20), station.flow(6, rcvbuf=4 << 20)]
    drops, sent = Drops(station), [0, 0]

    def feed() -> None:
        for number, flow in enumerate(flows):
            sent[number] += flow.tcp.feed(TOTAL // 2 - sent[number])

    def starved() -> bool:
        feed()
        return drops.starved()

    def due() -> bool:
        feed()  # the sender may have got rid of all it had, with more to come
        return all(flow.tally.total == TOTAL // 2 for flow in flows) or any(
            flow.tcp.queued() for flow in flows
        )

    def standing() -> str:
        taken = [flow.tally.total for flow in flows]
        return f"sent {sent}, received {taken} of {TOTAL // 2} each\n{station.debug().dump()}"

    wait_until(starved, standing, 5)
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


@contract("FILL-5", "BUF-3")
@pytest.mark.parametrize("way", ["read", "close"])
def test_one_socket_starves_another(make_station: MakeStation, way: str) -> None:
    """A stream that finds no page, as another socket's unread data has them all, goes on after."""
    station = make_station(pages=8)
    hog, other, drops = station.flow(rcvbuf=4 << 20), station.flow(), Drops(station)

    def starved() -> bool:
        hog.tcp.feed(SEGMENT)
        return drops.starved()

    wait_until(starved, station.debug().dump, 5)
    assert station.debug().accounting().skb == station.region.pages
    seen = drops.count()
    other.tcp.send(3 * SEGMENT)
    wait_until(lambda: drops.count() > seen, station.debug().dump, 5)
    if way == "read":
        hog.tcp.read(hog.tcp.sent.offset)
    else:
        hog.tcp.close()
    other.drain(3 * SEGMENT)
    assert station.debug().counters().fill_not_owned == 0


@pytest.fixture
def segments_link(own_link: Link) -> Link:
    """A link whose sender makes a frame of every segment."""
    ethtool.set_tso(own_link.tx, False)
    return own_link


def shown(station: Station) -> tuple[int, int]:
    """Dropped frames as ethtool, and as `ip -s link` shows them: at least one has them all."""
    end = station.link.rx
    own = sum(value for name, value in ethtool.statistics(end).items() if "drop" in name)
    return own, end.stats()["rx_dropped"]


@pytest.mark.own_sender
@contract("DEV-4", "DBG-5")
def test_each_dropped_frame_is_counted_once(segments_link: Link, make_station: MakeStation) -> None:
    """The device counts as many drops as segments were sent that never came."""
    exhausted = Exhausted(make_station(segments_link, pages=8))
    station, counters = exhausted.station, exhausted.entry.counters()
    flow, before = station.flow(), shown(station)
    flow.tcp.segments(*[SEGMENT] * 5)

    def dropped() -> list[int]:
        return [now - then for now, then in zip(shown(station), before, strict=True)]

    def all_counted() -> bool:
        # Segments are sent again meanwhile: they are asked for on both sides of the counts.
        first, counts = segments(flow.tcp.tx).sent, dropped()
        return first >= 5 and segments(flow.tcp.tx).sent == first == max(counts)

    wait_until(
        all_counted, lambda: f"ethtool, ip: {dropped()} drops; TCP: {segments(flow.tcp.tx)}", 5
    )
    assert segments(flow.tcp.rx).received == 0
    seen = exhausted.entry.counters() - counters
    assert (seen.from_freelist, seen.from_fill) == (0, 0)
    exhausted.give(*range(8))
    flow.drain(5 * SEGMENT)


@contract("REG-24", "FILL-5")
@pytest.mark.parametrize("pages", [1, 2, 5])
def test_tiny_region(make_station: MakeStation, pages: int) -> None:
    """A stream gets through a region of a few pages, byte for byte."""
    flow = make_station(pages=pages).flow(mss=600)
    for _ in range(10):
        flow.tcp.send(500)
        flow.drain(500)
    assert flow.tally.zero_copy
