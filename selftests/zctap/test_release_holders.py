# SPDX-License-Identifier: GPL-2.0
"""Release, whoever holds the payload and however the ifq ends; nothing here needs debugfs."""

from collections.abc import Callable

import pytest

from fixtures.links import QUEUE, UNUSED_QUEUE, LinkPool
from fixtures.owners import Claim, Claims, MakeOwner, Owner
from fixtures.parking import (
    InAcceptQueue,
    InClosedByPeer,
    InPacketSocket,
    InQdisc,
    InSocket,
    Park,
    Parked,
    keeps,
)
from fixtures.stations import Station
from lib.deadline import wait_until
from lib.zctap import wait_gone
from lib.zerocopy import Region
from netns import Connection, Link
from netns.packet import Gathered, MappedRing
from netns.tcp import unacknowledged

contract = pytest.mark.contract
pytestmark = pytest.mark.zero_copy


def queue_is_free(claimed: Claim, link: Link) -> None:
    """The queue can be bound to another region."""
    # A killed process's ring ends a bit later, on a worker.
    wait_until(lambda: not claimed.errno(link, QUEUE), "the queue was not given back", 1)


@contract("REL-1", "REL-4", "REL-5", "REL-7", "REL-9", "REL-10", "REG-19")
@pytest.mark.parametrize(
    ("kind", "end"),
    [
        (InSocket, Owner.kill),
        (InSocket, Owner.close_ring),
        (InClosedByPeer, Owner.unregister),
        (InAcceptQueue, Owner.kill),
        (InPacketSocket, Owner.kill),
        (InPacketSocket, Owner.unregister),
        (InQdisc, Owner.kill),
        (InQdisc, Owner.close_ring),
    ],
    ids=lambda value: value.__name__,
)
def test_payload_outlives_its_owner(
    make_owner: MakeOwner,
    park: Park,
    claim: Claims,
    steered_link: Link,
    link_pool: LinkPool,
    kind: type[Parked],
    end: Callable[[Owner], None],
) -> None:
    """The region stays taken until its payload is let go, intact; the queue is free at once."""
    owner = make_owner(steered_link)
    parked = park(kind, steered_link)
    end(owner)
    queue_is_free(claim(Region(4)), steered_link)
    claimed = claim(owner.region)
    assert claimed.errno(steered_link, UNUSED_QUEUE) == "EEXIST"
    if owner.entry is not None:
        keeps(owner.entry, 4)
        assert claimed.errno(steered_link, UNUSED_QUEUE) == "EEXIST"
    parked.intact()
    claimed.granted(steered_link, UNUSED_QUEUE, link_pool.flusher().flush)


@contract("REL-1", "REL-7")
@pytest.mark.parametrize("kind", [InAcceptQueue, InPacketSocket, InQdisc])
def test_payload_dropped_unread(
    make_owner: MakeOwner,
    park: Park,
    claim: Claims,
    steered_link: Link,
    link_pool: LinkPool,
    kind: type[Parked],
) -> None:
    """Payload that nobody reads lets go of the region when what holds it is closed."""
    owner = make_owner(steered_link)
    parked = park(kind, steered_link)
    owner.unregister()
    claimed = claim(owner.region)
    assert claimed.errno(steered_link, QUEUE) == "EEXIST"
    parked.drop()
    claimed.granted(steered_link, QUEUE, link_pool.flusher().flush)


@contract("REL-7", "DEV-1")
def test_mapped_packet_ring_holds_no_page(station: Station) -> None:
    """PACKET_RX_RING copies frames: right, and no reason to keep the region."""
    flow = station.flow()
    ring = MappedRing(station.link.rx)
    try:
        seen = Gathered(flow.tcp.check.pattern, flow.tcp.rx.getsockname()[1])
        for _ in range(8):
            flow.tcp.send(1000)
            flow.drain(1000)
        assert flow.tally.zero_copy
        entry = station.debug()
        station.close_ring()
        wait_gone(entry, station.flush, 0.2)
        ring.read_all(seen)
        assert seen.length == 8000, f"{seen.length} of 8000 bytes in the mapped ring"
    finally:
        ring.close()


@pytest.mark.own_sender
@contract("REL-5", "REL-7", "REG-19")
def test_process_killed_with_its_sockets(
    make_owner: MakeOwner,
    connection: Connection,
    claim: Claims,
    steered_link: Link,
    link_pool: LinkPool,
) -> None:
    """Unread data goes with the process that had both the ifq and the socket."""
    owner = make_owner(steered_link)  # inherits the socket, and is soon its only holder
    connection.rx.close()
    connection.send(20_000)
    wait_until(lambda: not unacknowledged(connection.tx), "data that has not arrived", 5)
    claimed = claim(owner.region)
    assert claimed.errno(steered_link, UNUSED_QUEUE) == "EEXIST"
    owner.kill()
    claimed.granted(steered_link, QUEUE, link_pool.flusher().flush, 1)
