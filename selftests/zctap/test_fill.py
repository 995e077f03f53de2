# SPDX-License-Identifier: GPL-2.0
"""Giving pages back: when the kernel takes an entry, and when the page is used again."""

import random
from dataclasses import replace

import pytest

from fixtures.exhausted import SEGMENT, Exhausted, MakeExhausted
from fixtures.peers import Craft
from fixtures.stations import META, MakeStation
from lib.deadline import wait_until
from lib.uring import PAGE, RecvSend
from lib.zctap.abi import IOV, IOV_SIZE
from lib.zctap.debugfs import PageRefs
from lib.zctap.metadata import MetadataRing
from netns.peer import offload

contract = pytest.mark.contract
pytestmark = [pytest.mark.zero_copy, pytest.mark.usefixtures("prompt_frees")]


def refs_of(exhausted: Exhausted, page: int) -> tuple[int, int]:
    """skb and user references of a page."""
    nothing = PageRefs(page, 0, 0, 0)
    line = next((line for line in exhausted.entry.refs() if line.page == page), nothing)
    return line.skb, line.user


@contract("FILL-2", "DBG-5", "DBG-7")
def test_freelist_first(make_station: MakeStation) -> None:
    """While the freelist has pages nothing is taken from the fill ring."""
    station = make_station(pages=512)  # more than are posted (DEV-3)
    flow, entry = station.flow(), station.debug()
    for _ in range(5):
        flow.tcp.send(SEGMENT)
        flow.drain(SEGMENT)
    counters, accounting = entry.counters(), entry.accounting()
    assert accounting.free > 0
    assert counters.from_fill == 0
    assert counters.from_freelist > 0
    station.at_rest()
    assert entry.accounting().user == len(flow.tally.pages) == 5


@contract("FILL-1", "BUF-1", "BUF-3")
def test_every_page_goes_round(exhausted: Exhausted, rng: random.Random) -> None:
    """Each page, the first and the last too, is used once more for each return, in any order."""
    for _ in range(3):
        pages = list(range(exhausted.station.region.pages))
        rng.shuffle(pages)
        exhausted.give(*pages)
        assert sorted(exhausted.arrivals()) == sorted(pages)
    counters = exhausted.entry.counters()
    assert counters.from_freelist == exhausted.station.region.pages
    assert counters.from_fill == 3 * exhausted.station.region.pages
    assert (counters.fill_invalid, counters.fill_not_owned) == (0, 0)


@contract("FILL-1", "BUF-3")
def test_only_the_pages_given_back_are_used(exhausted: Exhausted, rng: random.Random) -> None:
    """What arrives lands in the pages that were given back, and nowhere else."""
    for count in (1, 3, 7):
        pages = rng.sample(range(exhausted.station.region.pages), count)
        exhausted.give(*pages)
        assert sorted(exhausted.arrivals()) == sorted(pages)


@contract("FILL-1", "FILL-3")
def test_address_inside_the_page_is_enough(exhausted: Exhausted) -> None:
    """Any address in a page names it; the entry's len and bid are not trusted."""
    last = exhausted.station.region.pages - 1
    for offset in (1, PAGE // 2, PAGE - 1):
        for page, length, bid in [(0, 0, last), (last, 1 << 31, 0), (1, (1 << 32) - 1, 0xFFFF)]:
            del exhausted.held[page]
            exhausted.fill.put(page, offset=offset, length=length, bid=bid)
        exhausted.fill.publish()
        assert sorted(exhausted.arrivals()) == [0, 1, last], f"offset {offset}"
    counters = exhausted.entry.counters()
    assert (counters.fill_invalid, counters.fill_not_owned) == (0, 0)


@contract("BUF-2", "BUF-3", "FILL-3")
def test_one_return_for_each_piece(exhausted: Exhausted) -> None:
    """A page that was reported in three pieces is used again after the third return."""
    exhausted.give(3)
    flow = exhausted.offer()
    assert flow
    pieces = flow.take(SEGMENT, readlen=SEGMENT // 3 + 1)
    assert [piece.bid for piece in pieces] == [3, 3, 3]
    before = exhausted.entry.counters()
    for left in (2, 1):
        exhausted.fill.give([3])
        assert exhausted.offer() is None
        assert refs_of(exhausted, 3) == (0, left)
    exhausted.fill.give([3])
    flow = exhausted.offer()
    assert flow
    assert exhausted.keep(flow) == 3
    counters = exhausted.entry.counters() - before
    assert (counters.fill_invalid, counters.fill_not_owned) == (0, 0)


@contract("BUF-2", "FILL-1")
def test_returns_of_a_page_may_come_together(exhausted: Exhausted) -> None:
    """Three returns of one page in a row, in the same refill, are one free page."""
    exhausted.give(5)
    flow = exhausted.offer()
    assert flow
    assert len(flow.take(SEGMENT, readlen=SEGMENT // 3 + 1)) == 3
    exhausted.fill.give([5, 5, 5])
    assert exhausted.arrivals() == [5]
    counters = exhausted.entry.counters()
    assert (counters.fill_invalid, counters.fill_not_owned) == (0, 0)


@contract("BUF-2", "FILL-1")
def test_many_references_of_one_page(make_exhausted: MakeExhausted) -> None:
    """A page reported in 300 pieces has 300 user references, and is free after 300 returns."""
    exhausted, pieces = make_exhausted(pages=2, fill_entries=512), 300
    exhausted.give(1)
    flow = exhausted.offer()
    assert flow
    held = [flow.take(1)[0].bid for _ in range(pieces)]
    held += [chunk.bid for chunk in flow.take(SEGMENT - pieces)]
    assert held == [1] * (pieces + 1)
    assert refs_of(exhausted, 1) == (0, pieces + 1)
    exhausted.fill.give(held[1:])

    def one_left() -> bool:
        assert exhausted.offer() is None  # but it has the kernel look at some more entries
        return refs_of(exhausted, 1) == (0, 1)

    wait_until(one_left, exhausted.entry.dump, 5)
    exhausted.fill.give(held[:1])
    assert exhausted.arrivals() == [1]
    counters = exhausted.entry.counters()
    assert (counters.fill_invalid, counters.fill_not_owned) == (0, 0)


@contract("BUF-2", "FILL-1")
def test_a_reference_for_each_byte(make_exhausted: MakeExhausted, craft: Craft) -> None:
    """A page full of payload, reported byte by byte, is free after as many returns, and no less."""
    exhausted = make_exhausted(pages=2, fill_entries=2 * PAGE, cq_entries=2 * PAGE)
    station, page = exhausted.station, 1
    pool = MetadataRing(station.ring, META, PAGE, IOV_SIZE)
    exhausted.give(page)
    flow = craft(station)
    flow.peer.put(flow.peer.next(PAGE, summed=False), offload=offload(1400))
    flow.peer.wait_queued(PAGE)
    sqe = replace(flow.receiver.sqe_select(1, META), ioprio=RecvSend.MULTISHOT)
    request = station.ring.push(sqe)
    cqes = station.ring.wait(PAGE)[:PAGE]  # behind them it may have run out of metadata
    assert {(cqe.user_data, cqe.res, cqe.more) for cqe in cqes} == {(request, IOV_SIZE, True)}
    iovs = list(IOV.iter_unpack(pool.memory.view))
    expected = {(1, station.region.index, page)}
    assert {iov[1:4] for iov in iovs} == expected, f"iovs of {PAGE} bytes, expected {expected}"
    flow.tcp.check.check(station.region.piece(page, iovs[0][0], PAGE))
    station.region.held[page] += PAGE
    assert refs_of(exhausted, page) == (0, PAGE)
    exhausted.fill.give([page] * (PAGE - 1))

    def one_left() -> bool:
        assert exhausted.offer() is None, f"page {page} was used while the user held it (BUF-3)"
        return refs_of(exhausted, page) == (0, 1)

    wait_until(one_left, exhausted.entry.dump, 5)
    exhausted.fill.give([page])
    assert exhausted.arrivals() == [page]
    counters = exhausted.entry.counters()
    assert (counters.fill_invalid, counters.fill_not_owned) == (0, 0)


@contract("BUF-3", "BUF-4", "FILL-3")
def test_returned_page_waits_for_its_skb(exhausted: Exhausted) -> None:
    """A page given back while its skb lies in a socket is used when that has been read."""
    exhausted.give(2)
    parked = exhausted.offer()
    assert parked
    parked.receiver.give_back(parked.take(SEGMENT // 2))
    assert exhausted.offer(apart=True) is None
    assert refs_of(exhausted, 2) == (1, 0)
    accounting = exhausted.entry.accounting()
    assert (accounting.skb, accounting.user) == (1, exhausted.station.region.pages - 1)
    # recv(2) takes no user reference: the skb's was the last one.
    parked.tcp.read(SEGMENT - SEGMENT // 2)
    flow = exhausted.offer()
    assert flow
    assert exhausted.keep(flow) == exhausted.held[2].bid == 2
    counters = exhausted.entry.counters()
    assert (counters.fill_invalid, counters.fill_not_owned) == (0, 0)


@contract("BUF-3")
def test_page_read_by_recv_needs_no_return(exhausted: Exhausted) -> None:
    """A page that was read with recv(2) alone is used again without the fill ring."""
    exhausted.give(6)
    flow = exhausted.offer()
    assert flow
    for _ in range(4):
        flow.tcp.read(SEGMENT)
        assert exhausted.offer() is flow
    assert exhausted.keep(flow) == 6
    assert exhausted.entry.counters().from_fill == 1
