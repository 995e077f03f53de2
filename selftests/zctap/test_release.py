# SPDX-License-Identifier: GPL-2.0
"""Release: the region outlives its ifq for as long as an skb points into it, and no longer."""

import errno
import time

import pytest

from fixtures.parking import PARKED, keeps
from fixtures.registration import parting, taken_over
from fixtures.stations import FILL, Flow, MakeStation, Station
from lib.deadline import wait_until
from lib.uring import PAGE
from lib.zctap import Entry, IfqReq, Receiver, register_ifq, wait_gone
from lib.zerocopy import Region

contract = pytest.mark.contract
pytestmark = pytest.mark.zero_copy


def park(station: Station, length: int = PARKED) -> Flow:
    """A connection with `length` bytes in its socket, some of them at least in the region."""
    flow = station.flow()
    flow.tcp.send(length)
    flow.tcp.wait_queued(length)
    assert station.debug().accounting().skb > 0
    return flow


def unregister(station: Station) -> Entry:
    """Unregister the ifq; its directory."""
    entry = station.debug()
    assert station.ifq is not None
    station.ifq.close()
    return entry


def bind(station: Station, region_id: int) -> None:
    """The bare registration of a fixed buffer on the station's queue."""
    req = IfqReq(
        ifindex=station.link.rx.ifindex,
        queue_id=station.queue,
        fill_bgid=FILL,
        region_id=region_id,
    )
    with station.link.rx.ns.entered():
        register_ifq(station.ring, station.zctap, req)


@contract("REL-1")
def test_idle_region_goes_at_once(station: Station, explicit: None) -> None:
    """Without references the region is gone within 100 ms of the close."""
    wait_gone(unregister(station), station.flush, 0.1)


@contract("REL-1", "REL-10")
def test_region_can_be_bound_soon(station: Station, explicit: None) -> None:
    """Read right after the close, data holds up the next binding for less than a second.

    Told without debugfs, and without time for a slow machine: so it is the best of three. Not of
    more: by luck a kernel takes its first look only when the data has been read.
    """
    times = []
    for _ in range(3):
        flow = station.flow()
        flow.tcp.send(1000)
        flow.tcp.wait_queued(1000)
        begin = time.monotonic()
        assert parting(station, IfqReq()) == ""
        flow.tcp.read(1000)
        taken_over(station)
        times.append(time.monotonic() - begin)
    assert min(times) < 0.9, f"bound again after {times} s: expected 0.2 s, 0.9 at most"


def seconds_a_look(entry: Entry) -> float:
    """How long it takes from look to look, or longer: the clock is read first and last."""
    begin, first = time.monotonic(), entry.state().release_polls
    wait_until(lambda: entry.state().release_polls >= first + 8, entry.dump, 2)
    last = entry.state().release_polls
    return (time.monotonic() - begin) / (last - first)


@contract("REL-1", "DBG-2")
def test_looks_every_50_ms(station: Station, explicit: None) -> None:
    """While data is left the kernel looks about every 50 ms, not every second, and not at once."""
    park(station)
    entry = unregister(station)
    times = [seconds_a_look(entry) for _ in range(3)]
    assert 0.03 < min(times) < 0.5, f"a look every {min(times) * 1000:.0f} ms, expected 50 ms"


@contract("REL-1", "DBG-2")
def test_each_look_counts_once(station: Station, explicit: None) -> None:
    """Two numbers of looks that follow each other are seen, however late some are."""
    park(station)
    entry, seen = unregister(station), set[int]()

    def two_in_a_row() -> bool:
        seen.add(entry.state().release_polls)
        return any(number + 1 in seen for number in seen)

    wait_until(two_in_a_row, lambda: f"numbers of looks: {sorted(seen)}", 2, interval=0.01)


@contract("REL-1", "REL-7", "REL-9", "DBG-2", "DBG-6", "BUF-4")
def test_data_in_a_socket_keeps_the_region(station: Station) -> None:
    """The closed ring's region drains until the data is read, intact; then it is gone."""
    flow, entry = park(station), station.debug()
    station.close_ring()
    keeps(entry, 4)
    flow.tcp.read(PARKED)
    wait_gone(entry, station.flush, 0.2)


@contract("REL-1", "REL-7")
def test_one_page_keeps_the_region(station: Station, explicit: None) -> None:
    """The last page referenced is enough to keep the region, when all others have come free."""
    flows = [station.flow(), station.flow()]
    for flow in flows:  # two sockets: two segments in one socket may be joined to one skb
        flow.tcp.send(1000)
        flow.tcp.wait_queued(1000)
    entry = unregister(station)
    flows[0].tcp.read(1000)

    def one_left() -> bool:
        station.flush()
        return entry.accounting().skb == 1

    wait_until(one_left, entry.dump, 1)
    keeps(entry, 3)
    flows[1].tcp.read(1000)
    wait_gone(entry, station.flush, 0.2)


@contract("REL-1", "REL-7")
def test_closing_the_socket_releases(station: Station, explicit: None) -> None:
    """Data that nobody reads goes with its socket, and the region with it."""
    flow = park(station)
    entry = unregister(station)
    keeps(entry, 2)
    flow.tcp.rx.close()
    wait_gone(entry, station.flush, 0.2)


@contract("REL-4", "REL-6")
def test_queue_is_free_while_the_region_drains(station: Station, make_station: MakeStation) -> None:
    """Another ring binds the queue at once, and receives through it, beside the old data."""
    flow, entry = park(station), station.debug()
    station.close_ring()
    wait_until(lambda: entry.state().state == "draining", entry.dump, 1)
    successor = make_station()
    fresh = successor.flow()
    fresh.transfer(50_000)
    assert fresh.tally.zero_copy
    assert entry.state().state == "draining"
    flow.tcp.read(PARKED)
    wait_gone(entry, station.flush, 0.2)


@contract("REL-5", "REL-10", "REG-10")
def test_region_is_taken_while_it_drains(station: Station, explicit: None) -> None:
    """The same memory is EEXIST until the drain has ended, and accepted then."""
    flow = park(station)
    entry = unregister(station)
    with pytest.raises(FileExistsError) as caught:
        bind(station, 0)
    assert caught.value.errno == errno.EEXIST
    flow.tcp.read(PARKED)
    wait_gone(entry, station.flush)
    station.register()
    again = station.flow()
    again.transfer(10_000)
    assert again.tally.zero_copy


@contract("REL-4", "RECV-21")
def test_same_ring_binds_another_region(station: Station, explicit: None) -> None:
    """With the old region draining, the ring binds a new one; only the old data is copied."""
    flow = park(station)
    entry = unregister(station)
    with Region(32) as second:
        second.register(station.ring, 1)
        bind(station, 1)
        chunks = flow.accept(flow.receiver.receive(PAGE))
        assert not any(chunk.zero_copy for chunk in chunks)
        flow.receiver.give_back(chunks)
        flow.drain(PARKED - flow.tally.total)
        assert (flow.tally.copied, flow.tally.zero_copy) == (PARKED, 0)
        wait_gone(entry, station.flush)
        fresh = Receiver(station.ring, station.zctap, flow.tcp.rx, region=second, copy=station.copy)
        flow.tcp.send(1000)
        flow.accept(fresh.receive())
        assert (flow.tally.copied, flow.tally.zero_copy) == (PARKED, 1000), flow.tally
        station.close_ring()


@contract("REL-6", "DEV-2")
def test_frames_after_the_close_take_system_pages(station: Station, explicit: None) -> None:
    """A stream goes on when its queue closes: what comes later arrives intact, copied."""
    flow = station.flow()
    flow.transfer(20_000)
    entry = unregister(station)
    flow.transfer(50_000)
    assert flow.tally.copied >= 50_000
    wait_gone(entry, station.flush)


@contract("REL-8")
def test_user_references_do_not_keep_the_region(station: Station, explicit: None) -> None:
    """Pages the user has not given back do not hold up the release."""
    flow = station.flow()
    flow.tcp.send(20_000)
    chunks = flow.take(20_000)
    assert any(chunk.zero_copy for chunk in chunks)
    wait_gone(unregister(station), station.flush, 0.2)
