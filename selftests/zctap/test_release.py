# SPDX-License-Identifier: GPL-2.0
"""Release: the region outlives its ifq for as long as an skb points into it, and no longer."""

import errno

import pytest

from fixtures.links import Connect, LinkPool
from fixtures.stations import FILL, Flow, MakeStation, Station
from lib.child import Child, Hear, Say
from lib.deadline import wait_until
from lib.uring import PAGE
from lib.zctap import Debugfs, Entry, IfqReq, Zctap, register_ifq, wait_gone
from lib.zerocopy import Region
from netns import Link

contract = pytest.mark.contract
PARKED = 30_000  # bytes: what an unread socket takes without any tuning


def park(station: Station, length: int = PARKED) -> Flow:
    """A connection with `length` bytes in its socket, some of them at least in the region."""
    flow = station.flow()
    flow.tcp.send(length)
    flow.tcp.wait_queued(length)
    assert station.debug().accounting().skb > 0
    return flow


def polls(entry: Entry, more: int) -> None:
    """Wait until the release has been tried `more` times again."""
    target = entry.state().release_polls + more
    wait_until(lambda: entry.state().release_polls >= target, entry.dump, 2)


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


@contract("REL-1", "REL-7", "REL-9", "DBG-2", "DBG-6", "BUF-4")
def test_data_in_a_socket_keeps_the_region(station: Station) -> None:
    """The closed ring's region drains until the data is read, intact; then it is gone."""
    flow, entry = park(station), station.debug()
    station.close_ring()
    wait_until(lambda: entry.state().state == "draining", entry.dump, 1)
    polls(entry, 4)
    accounting = entry.accounting()
    assert accounting.skb > 0
    assert accounting.driver == 0
    assert accounting.conserved
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
    polls(entry, 3)
    flows[1].tcp.read(1000)
    wait_gone(entry, station.flush, 0.2)


@contract("REL-7", "REL-9")
def test_closing_the_socket_releases(station: Station, explicit: None) -> None:
    """Data that nobody reads goes with its socket, and the region with it."""
    flow = park(station)
    entry = unregister(station)
    polls(entry, 2)
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
    """With the old region draining, the ring binds a new one; the old data is copied."""
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


@contract("REL-9", "REL-7", "REG-19")
def test_data_outlives_the_process(
    zctap: Zctap,
    debugfs: Debugfs,
    steered_link: Link,
    link_pool: LinkPool,
    connect: Connect,
) -> None:
    """Data in a socket stays readable, intact, when the region's process has been killed."""
    flush = link_pool.flusher().flush

    def body(say: Say, hear: Hear) -> None:
        held = Station(zctap, steered_link, flush, 0)
        say("registered")
        hear()
        del held

    before = {entry.number for entry in debugfs.entries()}
    connection = connect()
    with Child(body) as child:
        child.expect("registered")
        (entry,) = [entry for entry in debugfs.entries() if entry.number not in before]
        connection.send(PARKED)
        connection.wait_queued(PARKED)
        assert entry.accounting().skb > 0
        child.kill()
    wait_until(lambda: entry.state().state == "draining", entry.dump, 1)
    polls(entry, 2)
    connection.read(PARKED)
    wait_gone(entry, flush, 0.2)


@contract("BUF-5", "REL-9")
def test_buffers_unregistered_under_the_ifq(station: Station) -> None:
    """Unregistering the fixed buffers, and unmapping them, leaves ifq and data as they were."""
    flow = park(station)
    station.ring.unregister_buffers()
    station.region.close()
    assert station.debug().state().state == "active"
    more = station.flow()
    more.tcp.send(5000)
    more.tcp.wait_queued(5000)
    more.tcp.read(5000)
    flow.tcp.read(PARKED)
