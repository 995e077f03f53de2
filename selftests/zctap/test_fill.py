# SPDX-License-Identifier: GPL-2.0
"""The fill ring: which entries the kernel takes, in which order, and what it makes of bad ones."""

import pytest

from fixtures.stations import Flow, MakeStation, Station
from lib.deadline import wait_until
from lib.uring import PAGE
from lib.zctap import Entry

contract = pytest.mark.contract
pytestmark = pytest.mark.usefixtures("prompt_frees")
PAGES = 32


@pytest.fixture
def small(make_station: MakeStation) -> Station:
    """A region that is soon used up, so that the fill ring is asked."""
    return make_station(pages=PAGES)


@pytest.fixture
def flow(small: Station) -> Flow:
    """A connection whose window is much smaller than the region."""
    return small.flow(rcvbuf=32 << 10)


def turn_over(flow: Flow, times: int = 3) -> None:
    """Receive several times the region, one page or more for each piece."""
    flow.transfer(times * PAGES * PAGE)


def refused(entry: Entry) -> int:
    """Entries that were looked at and dropped so far."""
    counters = entry.counters()
    return counters.fill_invalid + counters.fill_not_owned


@contract("FILL-2", "DBG-7")
def test_freelist_first(make_station: MakeStation) -> None:
    """While the freelist has pages nothing is taken from the fill ring."""
    station = make_station(pages=512)
    flow, entry = station.flow(), station.debug()
    for _ in range(5):
        flow.tcp.send(1000)
        flow.drain(1000)
    counters, accounting = entry.counters(), entry.accounting()
    assert accounting.free > 0
    assert counters.from_fill == 0
    assert counters.from_freelist > 0
    station.at_rest()
    assert entry.accounting().user == len(flow.tally.pages) == 5


@contract("FILL-1", "BUF-3")
def test_pages_go_round(small: Station, flow: Flow) -> None:
    """A stream several times the region's size comes through, its pages given back in turn."""
    turn_over(flow)
    counters = small.debug().counters()
    assert counters.from_fill > 0
    assert (counters.fill_invalid, counters.fill_not_owned) == (0, 0)


@contract("FILL-1", "FILL-3")
def test_address_inside_the_page_is_enough(small: Station, flow: Flow) -> None:
    """Any address in the page names it; the entry's len and bid are not trusted."""
    fill = small.fill
    assert fill is not None
    flow.tcp.send(20_000)
    for number, chunk in enumerate(flow.take(20_000)):
        if chunk.zero_copy:
            offset = (0, 1, PAGE // 2, PAGE - 1)[number % 4]
            length = (0, 1, 1 << 31)[number % 3]
            fill.put(chunk.bid, offset=offset, length=length, bid=0xFFFF - number)
        else:
            flow.receiver.give_back([chunk])
    fill.publish()
    turn_over(flow)
    assert refused(small.debug()) == 0


@contract("FILL-3")
def test_bad_addresses_are_dropped(small: Station, flow: Flow) -> None:
    """Addresses outside the region are counted and dropped, the good ones between them taken."""
    region, fill = small.region, small.fill
    assert fill is not None
    bad = [0, 1, region.addr - 1, region.addr + region.size, 1 << 46, (1 << 64) - 1]
    flow.tcp.send(20_000)
    held = flow.take(20_000)
    for number, chunk in enumerate(held):
        fill.add(bad[number % len(bad)], (0, PAGE)[number % 2], number)
        flow.receiver.give_back([chunk])
    turn_over(flow)
    counters = small.debug().counters()
    assert (counters.fill_invalid, counters.fill_not_owned) == (len(held), 0)


def parked_until(small: Station, count: int) -> Flow:
    """Data into a socket that is not read, until the kernel has refused `count` entries.

    As nothing is reported meanwhile, no page comes to the user between two entries.
    """
    flow, entry = small.flow(rcvbuf=4 << 20), small.debug()

    def enough() -> bool:
        flow.tcp.feed(1000)
        return refused(entry) >= count

    wait_until(enough, entry.dump, 5)
    return flow


@contract("FILL-3", "BUF-3")
def test_page_given_back_twice(small: Station, flow: Flow) -> None:
    """The second return of a page is counted and dropped, and harms no later data."""
    entry, fill = small.debug(), small.fill
    assert fill is not None
    flow.tcp.send(1000)
    (chunk,) = flow.take(1000)
    assert chunk.zero_copy
    flow.receiver.give_back([chunk])
    fill.add(small.region.page_addr(chunk.bid), PAGE, chunk.bid)
    fill.publish()
    parked = parked_until(small, 1)
    assert (entry.counters().fill_not_owned, entry.counters().fill_invalid) == (1, 0)
    parked.drain(parked.tcp.sent.offset)
    turn_over(flow)
    assert refused(entry) == 1


@contract("FILL-3")
def test_page_that_was_never_reported(small: Station, flow: Flow) -> None:
    """Returning pages that the user never had is counted and dropped."""
    entry, fill = small.debug(), small.fill
    assert fill is not None
    for page in (0, PAGES // 2, PAGES - 1):
        fill.add(small.region.page_addr(page), PAGE, page)
    fill.publish()
    parked = parked_until(small, 3)
    assert (entry.counters().fill_not_owned, entry.counters().fill_invalid) == (3, 0)
    assert entry.accounting().conserved
    parked.drain(parked.tcp.sent.offset)
    turn_over(flow)
    assert refused(entry) == 3
