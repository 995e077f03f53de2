# SPDX-License-Identifier: GPL-2.0
"""The device goes while an ifq is bound to it, or drains: nothing is held up or lost."""

import errno

import pytest

from fixtures.links import QUEUE, LinkPool
from fixtures.owners import Claims, MakeOwner
from fixtures.parking import (
    PARKED,
    InAcceptQueue,
    InPacketSocket,
    InSocket,
    Park,
    Parked,
    keeps,
)
from fixtures.registration import active, receives, refused, valid
from fixtures.removal import (
    REMOVALS,
    Removal,
    dead,
    deletion,
    end_of_namespace,
    end_of_peer_namespace,
    move,
    removed,
)
from fixtures.stations import Flow, MakeStation, Station
from lib.zctap import wait_gone
from netns import Link
from netns.byway import Byway

contract = pytest.mark.contract
HELD = 3000  # bytes that the user holds when the device goes


def moves_on(station: Station, link: Link) -> None:
    """REGISTER is EBUSY until UNREGISTER; then the region works on another device."""
    entry = station.debug()
    station.link = link
    refused(station, errno.EBUSY, valid(station))
    assert station.ifq is not None
    station.ifq.close()
    wait_gone(entry, station.flush, 0.1)
    station.register()
    receives(station)
    for connection in station.connections:
        connection.close()
    station.at_rest()


def sent_and_closed(station: Station, length: int = PARKED) -> Flow:
    """A connection whose peer has sent that much, has closed, and left no socket."""
    flow = station.flow()
    flow.tcp.send(length)
    flow.tcp.finish()
    flow.tcp.tx.close()
    flow.tcp.wait_queued(length)
    return flow


@contract("REL-3", "RECV-28", "DBG-2", "REG-4")
@pytest.mark.parametrize("removal", [deletion, move])
def test_bound_with_nothing(
    own_link: Link,
    make_station: MakeStation,
    steered_link: Link,
    explicit: None,
    removal: Removal,
) -> None:
    """A bound ifq is dead when its device has gone; its ring can bind another device then."""
    station = make_station(own_link)
    removed(own_link, removal)
    dead(station)
    moves_on(station, steered_link)


@contract("REL-3", "RECV-21", "RECV-28", "RECV-19", "DBG-2")
@pytest.mark.parametrize("removal", REMOVALS)
def test_bound_with_data(
    own_link: Link,
    make_station: MakeStation,
    steered_link: Link,
    explicit: None,
    removal: Removal,
) -> None:
    """What had arrived is read to the end, copied; what the user held stays as it was."""
    station = make_station(own_link)
    flow = sent_and_closed(station, HELD + PARKED)
    held = flow.take(HELD)
    assert any(chunk.zero_copy for chunk in held)
    removed(own_link, removal)
    entry = dead(station)
    assert entry.accounting().skb, "the data should still be in the region"
    before = entry.counters()
    seen = flow.tally.zero_copy
    flow.drain(PARKED // 2)
    assert flow.tally.zero_copy == seen, f"not copied from a dead ifq: {flow.tally}"
    assert (entry.counters() - before).zc_bytes == 0
    offset = 0
    for chunk in held:
        flow.tcp.check.pattern.check(offset, chunk.data)
        offset += len(chunk.data)
    flow.receiver.give_back(held)
    flow.tcp.read(HELD + PARKED - flow.tally.total)
    assert flow.receiver.receive() == []  # the end of the stream
    moves_on(station, steered_link)


@contract("REL-3", "REL-7", "REL-9", "DBG-2")
@pytest.mark.parametrize("removal", [deletion, move, end_of_peer_namespace])
def test_draining(
    own_link: Link, make_station: MakeStation, explicit: None, removal: Removal
) -> None:
    """A region that drains neither holds up its device nor goes with it: its data is read first."""
    station = make_station(own_link)
    flow = sent_and_closed(station)
    assert station.ifq is not None
    entry = station.debug()
    station.ifq.close()
    removed(own_link, removal)
    assert entry.state().state == "draining"
    assert entry.accounting().skb
    flow.tcp.read(PARKED)
    wait_gone(entry, station.flush, 0.2)


@contract("REL-3")
def test_bound_at_the_end_of_its_namespace(
    own_link: Link, make_station: MakeStation, steered_link: Link, explicit: None
) -> None:
    """The namespace of a bound device ends; the ring binds one in another namespace."""
    station = make_station(own_link)
    removed(own_link, end_of_namespace)
    dead(station)
    moves_on(station, steered_link)


@contract("REL-3", "REL-7")
def test_draining_at_the_end_of_its_namespace(
    own_link: Link, make_station: MakeStation, explicit: None
) -> None:
    """A region held by a qdisc drains when the namespace with that qdisc ends."""
    station = make_station(own_link)
    flow = station.flow()
    Byway(own_link.rx)  # goes with the namespace
    flow.tcp.send(PARKED)
    flow.drain(PARKED)
    entry = station.debug()
    assert station.ifq is not None
    station.ifq.close()
    flow.tcp.close()
    assert entry.accounting().skb, "nothing in the qdisc"
    removed(own_link, end_of_namespace)
    wait_gone(entry, station.flush, 0.2)


@contract("REL-3")
def test_two_queues_of_a_device(own_link: Link, make_station: MakeStation) -> None:
    """Both ifqs of a device are dead when it has gone."""
    stations = [make_station(own_link), make_station(own_link, queue=0)]
    removed(own_link, deletion)
    for station in stations:
        dead(station)


@contract("REL-3", "DBG-2")
@pytest.mark.parametrize("removal", [deletion, move])
def test_another_device_goes(own_link: Link, station: Station, removal: Removal) -> None:
    """An ifq stays active, and receives, when a device goes that is not its own."""
    removed(own_link, removal)
    active(station)
    receives(station)


@contract("REL-3", "REL-7", "REL-1", "DBG-2")
@pytest.mark.parametrize("kind", [InAcceptQueue, InPacketSocket])
def test_data_elsewhere(
    own_link: Link,
    make_station: MakeStation,
    park: Park,
    explicit: None,
    kind: type[Parked],
) -> None:
    """Unregistered after its device has gone, a region still drains: its data is read first."""
    station = make_station(own_link)
    parked = park(kind, own_link)
    removed(own_link, deletion)
    entry = dead(station)
    assert entry.accounting().skb
    assert station.ifq is not None
    station.ifq.close()
    keeps(entry, 2)
    parked.intact()
    wait_gone(entry, station.flush, 0.2)


@contract("REL-3", "REL-5", "REL-9", "REG-19")
def test_owner_killed_after_the_device(
    own_link: Link,
    make_owner: MakeOwner,
    park: Park,
    claim: Claims,
    steered_link: Link,
    link_pool: LinkPool,
) -> None:
    """The device goes, then the process: what had arrived is read, and then the region is free."""
    owner = make_owner(own_link)
    parked = park(InSocket, own_link)
    removed(own_link, move)
    claimed = claim(owner.region)
    assert claimed.errno(steered_link, QUEUE) == "EEXIST"
    owner.kill()
    if owner.entry is not None:
        keeps(owner.entry, 2)
    assert claimed.errno(steered_link, QUEUE) == "EEXIST"
    parked.intact()
    claimed.granted(steered_link, QUEUE, link_pool.flusher().flush)
