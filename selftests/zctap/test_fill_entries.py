# SPDX-License-Identifier: GPL-2.0
"""Bad entries in the fill ring: dropped and counted, and no harm to the good ones behind them."""

import contextlib
import errno
import random
import socket
import threading
from collections.abc import Iterator

import pytest

from fixtures.exhausted import SEGMENT, Exhausted, MakeExhausted
from fixtures.links import UNUSED_QUEUE
from fixtures.peers import Craft
from fixtures.stations import Flow, MakeStation
from lib.deadline import scaled, wait_until
from lib.uring import PAGE
from lib.zctap import Entry, FillRing

contract = pytest.mark.contract
pytestmark = [pytest.mark.zero_copy, pytest.mark.usefixtures("prompt_frees")]
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


@contextlib.contextmanager
def scrawling(fill: FillRing, rng: random.Random) -> Iterator[None]:
    """Inside, another thread overwrites entries and moves the tail, again and again."""
    over, region = threading.Event(), fill.region
    addresses = [region.page_addr(page) for page in range(region.pages)]
    addresses += [0, 8, region.addr - 1, region.addr + region.size, 1 << 47, (1 << 64) - PAGE]

    def run() -> None:
        while not over.wait(1e-5):  # lets the test's thread go on
            for _ in range(20):
                fill.scrawl(rng.randrange(fill.entries), rng.choice(addresses))
            fill.jump(rng.choice([-2, 1, 1, 2, 2, 3, fill.entries]))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(scaled(5))
    assert not thread.is_alive()


@contract("FILL-3", "BUF-4")
def test_entries_that_change_as_they_are_read(
    make_station: MakeStation, craft: Craft, rng: random.Random
) -> None:
    """Whatever is written to the fill ring while the kernel looks, no page is lost or doubled.

    Whose bytes are where is the application's business then: nobody looks at them.
    """
    station = make_station(pages=8)
    flow, taken = craft(station), 0
    assert station.fill is not None
    with scrawling(station.fill, rng):
        for _ in range(60):
            flow.peer.put(flow.peer.data(taken, SEGMENT))
            sqe = flow.receiver.sqe(SEGMENT, msg_flags=socket.MSG_DONTWAIT)
            received = flow.receiver.decode(station.ring.run(sqe))
            assert received.error in (0, errno.EAGAIN), received.cqe
            taken += received.length
            for chunk in received.chunks:
                if not chunk.zero_copy:
                    station.copy.release(chunk.bid)
            if station.entry is not None:
                accounting = station.entry.accounting()
                assert accounting.conserved, f"pages are not conserved (BUF-4): {accounting}"
    assert taken >= station.region.pages * SEGMENT, (
        f"{taken} bytes: the kernel had no cause to look"
    )
    station.close(check=False)  # references are at odds with what was reported
    station.gone()
