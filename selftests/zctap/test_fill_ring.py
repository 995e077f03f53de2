# SPDX-License-Identifier: GPL-2.0
"""The fill ring as a ring: sizes, empty and full, wrapping around, a tail that makes no sense."""

import os

import pytest

from fixtures.exhausted import SEGMENT, Exhausted, MakeExhausted
from fixtures.stations import FILL, MakeStation
from lib.uring import PAGE, Memory
from lib.zctap import FillRing

contract = pytest.mark.contract
pytestmark = [pytest.mark.zero_copy, pytest.mark.usefixtures("prompt_frees")]
BAD = 127  # entries before each good one: few enough for a refill to pass them


@contract("FILL-1", "FILL-2")
@pytest.mark.parametrize("entries", [1, 2, 8, 1 << 15])
def test_full_and_empty_in_turn(make_exhausted: MakeExhausted, entries: int) -> None:
    """As many pages as the ring holds are used, and no more, round after round."""
    exhausted = make_exhausted(fill_entries=entries)
    pages = min(entries, exhausted.station.region.pages)
    for turn in range(3 if pages > 1 else 5):
        given = [
            (turn * pages + number) % exhausted.station.region.pages for number in range(pages)
        ]
        exhausted.give(*given)
        assert sorted(exhausted.arrivals()) == sorted(given)
    counters = exhausted.entry.counters()
    assert (counters.fill_invalid, counters.fill_not_owned) == (0, 0)


@contract("FILL-5", "DEV-4")
def test_empty_ring_gives_nothing(exhausted: Exhausted) -> None:
    """With the fill ring empty, and its tail written again, every frame is dropped."""
    before = exhausted.entry.counters()
    for _ in range(3):
        exhausted.fill.publish()
        assert exhausted.offer() is None
    counters = exhausted.entry.counters() - before
    assert (counters.from_freelist, counters.from_fill) == (0, 0)
    assert (counters.fill_invalid, counters.fill_not_owned) == (0, 0)


@contract("FILL-1")
def test_added_entries_count_when_shown(exhausted: Exhausted) -> None:
    """An entry is taken when the tail has moved past it, not before."""
    exhausted.fill.put(3)
    assert exhausted.offer() is None
    exhausted.fill.publish()
    del exhausted.held[3]
    assert exhausted.arrivals() == [3]


@contract("FILL-1", "FILL-3")
def test_tail_wraps_around(make_station: MakeStation) -> None:
    """The 16-bit tail runs past 65,535 to 0; each entry before and after is seen once."""
    station = make_station(pages=32, fill_entries=1 << 15)
    flow, fill, entry = station.flow(rcvbuf=32 << 10), station.fill, station.debug()
    assert fill is not None
    shown = bad = 0

    def pad_and_give_back(pages: list[int]) -> None:
        nonlocal shown, bad
        for page in pages:
            fill.jump(BAD)  # zeros, all around the ring: good entries are at multiples of 128
            fill.give([page])
            bad, shown = bad + BAD, shown + BAD + 1

    while shown < (1 << 16) + 40 * (BAD + 1):
        flow.tcp.feed(64 << 10)
        chunks = flow.accept(flow.receiver.receive())
        flow.receiver.give_back(chunk for chunk in chunks if not chunk.zero_copy)
        pad_and_give_back([chunk.bid for chunk in chunks if chunk.zero_copy])
    counters = entry.counters()
    # What has not been looked at yet is no more than the pages of the region, with their padding.
    assert bad - 2 * 32 * BAD <= counters.fill_invalid <= bad
    assert counters.fill_not_owned == 0
    flow.drain(flow.tcp.sent.offset - flow.tally.total)


@contract("FILL-1", "FILL-3")
def test_no_more_than_what_lies_across_the_wrap(make_station: MakeStation) -> None:
    """Of entries that lie from 65,530 on past 0 each is looked at once, and nothing behind them."""
    station = make_station(pages=8, fill_entries=256, register=False)
    assert station.fill is not None
    station.fill.jump(65_530)
    station.register()  # from there on (FILL-8)
    exhausted = Exhausted(station)
    exhausted.fill.jump(11)  # zeros: no page frees itself, which would end the refill
    assert exhausted.offer() is None
    invalid = exhausted.entry.counters().fill_invalid
    assert invalid == 11, f"11 bad entries up to the tail: expected 11 counted, seen {invalid}"
    exhausted.give(3)
    assert exhausted.arrivals() == [3]
    counters = exhausted.entry.counters()
    assert (counters.fill_invalid, counters.fill_not_owned) == (11, 0)


@contract("FILL-1")
def test_pages_of_the_ring_are_where_they_are(make_station: MakeStation) -> None:
    """Each entry of a ring of two pages is read from its page, whichever lies first in memory.

    The same two pages make the ring twice, and are swapped in between.
    """
    pages = os.memfd_create("ring")
    try:
        os.ftruncate(pages, 2 * PAGE)
        for first in (0, PAGE):
            memory = Memory(2 * PAGE)
            memory.overlay(pages, size=PAGE, offset=first)
            memory.overlay(pages, at=PAGE, offset=PAGE - first)
            memory.view[:] = bytes(2 * PAGE)
            station = make_station(pages=8, fill_group=False, register=False)
            station.fill = FillRing(station.ring, FILL, station.region, 512, memory=memory)
            station.fill.jump(255)
            station.register()  # from there on (FILL-8)
            exhausted = Exhausted(station)
            for page in (5, 6, 7):  # the first page's last entry, and the second's first two
                exhausted.give(page)
                assert exhausted.arrivals() == [page], f"the page of the file at {first} is first"
            station.close()
    finally:
        os.close(pages)


@contract("FILL-3", "BUF-4")
@pytest.mark.parametrize("count", [8, 1000])
def test_tail_beyond_the_ring(make_exhausted: MakeExhausted, count: int) -> None:
    """A tail further ahead than the ring is long: good pages are used once at most.

    Whether such a ring is looked at, over and over or not at all, is left open.
    """
    exhausted = make_exhausted(fill_entries=8)
    exhausted.give(1, 4, 6)
    exhausted.fill.jump(count)  # the same eight entries, over and over
    # Nothing is reported from here on: a stale entry cannot take a page away from the user.
    flows = [flow for flow in (exhausted.offer(apart=True) for _ in range(7)) if flow]
    used = len(flows)
    assert used <= 3, f"3 pages took {used} segments"
    counters, accounting = exhausted.entry.counters(), exhausted.entry.accounting()
    assert counters.from_fill == used
    assert counters.fill_invalid + counters.fill_not_owned <= count
    assert accounting.conserved
    assert (accounting.skb, accounting.user) == (used, 8 - used)
    for flow in flows:
        flow.tcp.read(SEGMENT)


@contract("FILL-3", "RECV-19")
def test_tail_that_goes_back(exhausted: Exhausted) -> None:
    """A tail one behind the kernel's head is 65,535 entries ahead: bad ones, here, and no more."""
    exhausted.fill.jump(-1)
    for _ in range(3):
        assert exhausted.offer() is None
    counters = exhausted.entry.counters()
    assert counters.fill_invalid < 1 << 15
    assert (counters.from_fill, counters.fill_not_owned) == (0, 0)
    assert exhausted.entry.accounting().user == exhausted.station.region.pages
