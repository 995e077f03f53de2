# SPDX-License-Identifier: GPL-2.0
"""The buffer group behind the fill ring: whose it is, and what happens when there is none."""

import errno
from collections.abc import Callable

import pytest

from fixtures.exhausted import SEGMENT, Exhausted, MakeExhausted
from fixtures.registration import refused, valid
from fixtures.rings import Pair
from fixtures.stations import FILL, MakeStation, Station
from lib.deadline import wait_until
from lib.uring import PAGE, BufferRing, Memory, Sqe, SqeFlag, op
from lib.uring.abi import Op
from lib.zctap import FillRing
from lib.zerocopy import Chunk
from netns.ethtool import drops

contract = pytest.mark.contract
pytestmark = [pytest.mark.zero_copy, pytest.mark.usefixtures("prompt_frees")]

STEP = 8 * PAGE  # bytes that are sent at once


def read_select(fd: int, group: int) -> Sqe:
    """read(2) into a buffer of a group."""
    return Sqe(Op.READ, fd, len=PAGE, buf=group, flags=SqeFlag.BUFFER_SELECT)


def recv_multishot(fd: int, group: int) -> Sqe:
    """Multishot receive into buffers of a group."""
    return op.recv_select(fd, group, multishot=True)


@contract("FILL-7")
def test_nobody_else_selects_from_it(exhausted: Exhausted, pair: Pair) -> None:
    """Another request that selects from the fill ring gets ENOBUFS and takes no entry.

    RECV_ZC gets EINVAL for metadata that it cannot be asked to put there (RECV-26).
    """
    flow = exhausted.station.flow()
    exhausted.give(2, 3)
    flow.refused(flow.receiver.sqe_select(PAGE, FILL), errno.EINVAL)
    pair[1].send(b"kept")
    for request in (op.recv_select, recv_multishot, read_select, op.recv_select):
        cqe = exhausted.station.ring.run(request(pair[0].fileno(), FILL))
        assert (cqe.error, cqe.buffer_id) == (errno.ENOBUFS, None), request
    assert sorted(exhausted.arrivals()) == [2, 3]
    assert pair[0].recv(100) == b"kept"


@contract("FILL-7")
@pytest.mark.parametrize(
    "request_of", [op.recv_select, recv_multishot], ids=["single", "multishot"]
)
def test_request_from_before_it_was_a_fill_ring(
    make_station: MakeStation, pair: Pair, request_of: Callable[[int, int], Sqe]
) -> None:
    """A request that waits when its group becomes a fill ring gets ENOBUFS and takes no entry."""
    station = make_station(register=False, pages=8)
    ring, fill = station.ring, station.fill
    assert fill is not None
    fill.add(station.region.page_addr(0), PAGE, 0)  # what recv(2) could be written to
    fill.publish()
    before = bytes(station.region.piece(0, 0, PAGE))
    waiting = ring.push(request_of(pair[0].fileno(), FILL))
    ring.submit()
    assert ring.reap() == [], "a completion without data"
    station.register()
    pair[1].send(b"kept")
    cqe = ring.wait_for(waiting)
    seen = (cqe.error, cqe.buffer_id)
    assert seen == (errno.ENOBUFS, None), f"{cqe}: expected ENOBUFS and no buffer"
    assert pair[0].recv(10) == b"kept"
    assert bytes(station.region.piece(0, 0, PAGE)) == before, "page 0 was written by recv(2)"


@contract("FILL-4")
def test_no_group(make_exhausted: MakeExhausted) -> None:
    """Without a group the queue has no buffers once the freelist is empty."""
    exhausted = make_exhausted(fill_group=False)
    for _ in range(3):
        assert exhausted.offer() is None
    counters = exhausted.entry.counters()
    assert (counters.from_freelist, counters.from_fill) == (exhausted.station.region.pages, 0)


@contract("FILL-4")
def test_freelist_serves_without_a_group(make_station: MakeStation) -> None:
    """Without a group pages that come back by themselves are used, ten times over."""
    station = make_station(pages=32, fill_group=False)
    flow, total = station.flow(rcvbuf=32 << 10), 10 * station.region.size
    left = total - flow.tcp.feed(total)
    while flow.tcp.check.offset < total:
        flow.tcp.read(min(total - flow.tcp.check.offset, max(1, flow.tcp.queued())))
        left -= flow.tcp.feed(left)
    counters = station.debug().counters()
    assert counters.from_freelist > 5 * station.region.pages
    assert counters.from_fill == 0


@contract("FILL-4", "FILL-7")
def test_group_unregistered_under_the_ifq(exhausted: Exhausted) -> None:
    """Its entries are out of reach from then on; pages that come free otherwise are used."""
    exhausted.give(1)
    parked = exhausted.offer()
    assert parked
    exhausted.give(2)
    exhausted.fill.unregister()
    assert exhausted.offer(apart=True) is None
    assert exhausted.entry.counters().from_fill == 1
    assert exhausted.entry.accounting().user == exhausted.station.region.pages - 1
    parked.tcp.read(SEGMENT)
    assert exhausted.arrivals() == [1]


@contract("BUF-4", "BUF-3")
@pytest.mark.parametrize("before", ["none", "unregistered"])
def test_group_registered_later(make_exhausted: MakeExhausted, before: str) -> None:
    """Whether or not a group that comes later is adopted, no page is used that is not in it."""
    exhausted = make_exhausted(fill_group=before != "none")
    if before != "none":
        exhausted.fill.unregister()
    exhausted.station.fill = FillRing(exhausted.station.ring, FILL, exhausted.station.region)
    exhausted.give(4, 5)
    assert sorted(exhausted.arrivals()) in ([], [4, 5])
    assert exhausted.entry.accounting().conserved
    counters = exhausted.entry.counters()
    assert (counters.fill_invalid, counters.fill_not_owned) == (0, 0)


@contract("FILL-7")
def test_classic_group_is_no_fill_ring(make_station: MakeStation, pair: Pair) -> None:
    """A group made by PROVIDE_BUFFERS counts as none, and stays what it is for others."""
    station = make_station(pages=8, fill_group=False, register=False)
    ring, fd = station.ring, pair[0].fileno()
    with Memory(4 * PAGE) as memory:
        assert ring.run(op.provide_buffers(memory.addr, PAGE, 4, FILL)).res == 0
        station.register()
        exhausted = Exhausted(station)
        assert exhausted.offer() is None
        counters = exhausted.entry.counters()
        assert counters.from_fill == counters.fill_invalid == counters.fill_not_owned == 0
        for number in range(4):
            pair[1].send(b"message %d" % number)
            cqe = ring.run(op.recv_select(fd, FILL, length=PAGE))
            assert (cqe.res, cqe.buffer_id) == (9, number)
            assert bytes(memory.view[number * PAGE :][:9]) == b"message %d" % number
        assert ring.run(op.recv_select(fd, FILL, length=PAGE)).error == errno.ENOBUFS
        # Nothing of it is the kernel's any more when the memory goes.
        assert exhausted.offer() is None


@contract("FILL-7", "REG-20")
def test_group_after_its_ifq(exhausted: Exhausted, explicit: None, pair: Pair) -> None:
    """When the ifq has ended others select from the group, but nothing that it has taken."""
    station = exhausted.station
    exhausted.give(2, 3)
    assert sorted(exhausted.arrivals()) == [2, 3]
    exhausted.fill.put(4, bid=44)
    exhausted.fill.publish()
    assert station.ifq
    station.ifq.close()
    pair[1].send(b"message")
    cqe = station.ring.run(op.recv_select(pair[0].fileno(), FILL))
    assert (cqe.res, cqe.buffer_id) == (7, 44), cqe
    assert bytes(station.region.piece(4, 0, 7)) == b"message"


@contract("FILL-7")
def test_another_group_is_nobodys(exhausted: Exhausted, pair: Pair) -> None:
    """An ordinary buffer ring of the same ring works beside the fill ring."""
    exhausted.give(6)
    with Memory(PAGE) as memory:
        group = BufferRing(exhausted.station.ring, FILL + 1, 4)
        group.add(memory.addr, PAGE, 77)
        group.publish()
        pair[1].send(b"message")
        cqe = exhausted.station.ring.run(op.recv_select(pair[0].fileno(), FILL + 1))
        assert (cqe.res, cqe.buffer_id) == (7, 77)
        assert bytes(memory.view[:7]) == b"message"
        group.close()
    assert exhausted.arrivals() == [6]


def registered_again(station: Station) -> None:
    """The same region bound to the same queue once more, by the same ring."""
    assert station.ifq
    station.ifq.close()
    station.gone()
    station.register()


@contract("FILL-8", "BUF-3", "REG-20")
def test_entries_of_an_earlier_ifq(make_station: MakeStation, explicit: None) -> None:
    """Pages given back to the ring's last ifq, and not taken by it, stay with who reads them now.

    So many are given back, and then held until the device finds none, that some must be the same.
    """
    station = make_station(pages=512)  # more than are posted (DEV-3)
    station.flow().transfer(250 * PAGE)
    registered_again(station)
    flow, entry, held = station.flow(), station.debug(), list[Chunk]()
    before = drops(station.link.rx)

    def dropped() -> bool:
        return drops(station.link.rx) > before

    while not dropped() and not entry.counters().from_fill:
        flow.tcp.send(STEP)
        # How many pages that takes is up to the sender: a slow one fills them by a third.
        wait_until(
            lambda: flow.tcp.queued() >= STEP or dropped(),
            lambda: f"{flow.tcp.queued()} of {STEP} bytes arrived\n{entry.dump()}",
        )
        if flow.tcp.queued() >= STEP:
            held += flow.take(STEP)
    counters = entry.counters()
    taken = (counters.from_fill, counters.fill_not_owned, counters.fill_invalid)
    assert taken == (0, 0, 0), f"entries that were there before: {counters}"
    flow.receiver.give_back(held)


@contract("FILL-8", "FILL-3")
def test_bad_entries_of_an_earlier_ifq(exhausted: Exhausted, explicit: None) -> None:
    """What is no page's address, and was left over, is nobody's mistake that is counted."""
    fill, first = exhausted.fill, exhausted.station.region.page_addr(0)
    for address in (0, first - 1, first):
        fill.add(address, PAGE, 0)
    fill.publish()
    registered_again(exhausted.station)
    again = Exhausted(exhausted.station)
    again.give(3)
    assert again.arrivals() == [3]
    counters = again.entry.counters()
    assert (counters.fill_invalid, counters.fill_not_owned) == (0, 0)


@contract("FILL-8", "REG-18")
def test_group_of_a_failed_registration(make_station: MakeStation, pair: Pair) -> None:
    """A registration that fails leaves the group's buffers for others to select."""
    station = make_station(register=False, pages=8)
    ring, fill = station.ring, station.fill
    assert fill is not None
    for page in (5, 6):
        fill.add(station.region.page_addr(page), PAGE, page)
    fill.publish()
    # The driver's refusal comes last of all.
    refused(station, errno.EINVAL, valid(station, queue_id=1000))
    for page in (5, 6):
        pair[1].send(b"message %d" % page)
        cqe = ring.run(op.recv_select(pair[0].fileno(), FILL))
        assert (cqe.res, cqe.buffer_id) == (9, page), cqe
        assert bytes(station.region.piece(page, 0, 9)) == b"message %d" % page
    assert ring.run(op.recv_select(pair[0].fileno(), FILL)).error == errno.ENOBUFS
