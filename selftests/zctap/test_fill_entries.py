# SPDX-License-Identifier: GPL-2.0
"""Bad entries in the fill ring: dropped and counted, and no harm to the good ones behind them."""

import pytest

from fixtures.exhausted import SEGMENT, Exhausted, MakeExhausted
from fixtures.links import UNUSED_QUEUE
from fixtures.stations import Flow, MakeStation
from lib.deadline import wait_until
from lib.uring import PAGE
from lib.zctap import Entry

contract = pytest.mark.contract
pytestmark = pytest.mark.usefixtures("prompt_frees")
PAGES = 32


def outside(exhausted: Exhausted, foreign: int) -> dict[str, int]:
    """Addresses that are in no page of the region, some of them close to one by a slip."""
    start, size = exhausted.station.region.addr, exhausted.station.region.size
    return {
        "null": 0,
        "page number 1": 1,
        "just before": start - 1,
        "page before": start - PAGE,
        "end": start + size,
        "page behind": start + size + PAGE - 1,
        "same below 4 GiB": start & 0xFFFFFFFF,
        "4 GiB up": start + (1 << 32),
        "4 GiB down": start - (1 << 32),
        "65,536 pages up": start + (PAGE << 16),
        "sign flipped": start | 1 << 63,
        "wrapped": (start - PAGE) & ~0xFFF | 1 << 62,
        "another ifq's region": foreign,
        "its own ring": exhausted.fill.ring_address,
        "first not canonical": 1 << 47,
        "direct map": 0xFFFF888000000000,
        "kernel text": 0xFFFFFFFF81000000,
        "last page": (1 << 64) - PAGE,
        "all ones": (1 << 64) - 1,
    }


@contract("FILL-3")
def test_addresses_outside_the_region(exhausted: Exhausted, make_station: MakeStation) -> None:
    """Each kind of wrong address is counted once as invalid, and the next entry is taken."""
    foreign = make_station(pages=8, queue=UNUSED_QUEUE)
    lengths = (0, PAGE, (1 << 32) - 1)
    kinds = outside(exhausted, foreign.region.addr)
    for number, (kind, addr) in enumerate(kinds.items()):
        page = number % exhausted.station.region.pages
        before = exhausted.entry.counters()
        exhausted.fill.add(addr, lengths[number % 3], number)
        exhausted.give(page)
        flow = exhausted.offer()
        assert flow, f"{kind}: the good entry behind it was not taken"
        assert exhausted.keep(flow) == page, kind
        counters = exhausted.entry.counters() - before
        refused = (counters.fill_invalid, counters.fill_not_owned)
        assert refused == (1, 0), f"{kind}: invalid, not owned {refused}, expected (1, 0)"
    assert foreign.debug().accounting().user == 0


@contract("FILL-3", "BUF-3")
@pytest.mark.parametrize("extra", [1, 5])
def test_page_given_back_too_often(exhausted: Exhausted, extra: int) -> None:
    """Each return beyond the first is counted and dropped; the page is used once."""
    exhausted.give(4)
    for _ in range(extra):
        exhausted.fill.add(exhausted.station.region.page_addr(4), PAGE, 4)
    exhausted.give(1)
    flows = [exhausted.offer(), exhausted.offer()]  # unread: nothing comes to the user between
    assert flows[0] is not None
    assert flows[0] is flows[1]
    assert exhausted.offer(apart=True) is None
    counters = exhausted.entry.counters()
    assert (counters.fill_invalid, counters.fill_not_owned) == (0, extra)
    assert counters.from_fill == 2
    pieces = flows[0].take(2 * SEGMENT, readlen=SEGMENT)
    assert sorted(piece.bid for piece in pieces) == [1, 4]


@contract("FILL-3", "BUF-3", "RECV-19")
def test_page_in_an_unread_socket(exhausted: Exhausted) -> None:
    """Returning a page that only an skb refers to is counted and dropped, its data kept."""
    exhausted.give(7)
    parked = exhausted.offer()
    assert parked
    exhausted.fill.add(exhausted.station.region.page_addr(7), PAGE, 7)
    exhausted.give(0)
    assert exhausted.offer()
    assert exhausted.offer(apart=True) is None
    counters = exhausted.entry.counters()
    assert (counters.fill_invalid, counters.fill_not_owned) == (0, 1)
    assert sorted(chunk.bid for chunk in parked.take(2 * SEGMENT, readlen=SEGMENT)) == [0, 7]


def refused(entry: Entry) -> int:
    """Entries that were looked at and dropped so far."""
    counters = entry.counters()
    return counters.fill_invalid + counters.fill_not_owned


@contract("FILL-3", "BUF-4")
def test_page_that_was_never_reported(make_station: MakeStation) -> None:
    """Returning pages that the user never had, free or posted, is counted and dropped."""
    station = make_station(pages=PAGES)
    entry, fill = station.debug(), station.fill
    assert fill is not None
    for page in range(PAGES):
        fill.add(station.region.page_addr(page), PAGE, page)
    fill.publish()
    # As nothing is reported meanwhile, no page comes to the user before its entry is looked at.
    parked: Flow = station.flow(rcvbuf=4 << 20)

    def all_refused() -> bool:
        parked.tcp.feed(SEGMENT)
        return refused(entry) >= PAGES

    wait_until(all_refused, entry.dump, 5)
    assert (entry.counters().fill_not_owned, entry.counters().fill_invalid) == (PAGES, 0)
    assert entry.accounting().conserved
    parked.drain(parked.tcp.sent.offset)
    station.flow().transfer(2 * PAGES * PAGE)
    assert refused(entry) == PAGES


@contract("FILL-3")
def test_good_entry_behind_many_bad_ones(make_exhausted: MakeExhausted) -> None:
    """A thousand bad entries are looked at, if not at once, and then the good one is taken."""
    exhausted, bad = make_exhausted(fill_entries=1024), 1000
    exhausted.fill.jump(bad)  # zeros
    exhausted.give(5)
    flow = wait_until(exhausted.offer, exhausted.entry.dump, 10)
    assert flow
    assert exhausted.keep(flow) == 5
    counters = exhausted.entry.counters()
    assert (counters.fill_invalid, counters.fill_not_owned) == (bad, 0)


@contract("FILL-3")
def test_a_refill_does_not_look_at_everything(make_exhausted: MakeExhausted) -> None:
    """With the largest ring full of bad entries, one frame has the kernel look at few of them."""
    exhausted, bad = make_exhausted(fill_entries=1 << 15), (1 << 15) - 1
    exhausted.fill.jump(bad)
    assert exhausted.offer() is None
    assert 0 < refused(exhausted.entry) < bad // 2
