# SPDX-License-Identifier: GPL-2.0
"""Headers of every kind and length in front of the payload, which lands in the region."""

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from fixtures.peers import Craft, CraftedFlow
from fixtures.stations import MakeStation, Station
from netns import Link, Unsupported, xdp
from netns.device import vlan
from netns.frames import sack, timestamps
from netns.packet import next_from, tap
from netns.peer import MAC, Peer, Wire

contract = pytest.mark.contract
both_families = pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])
SIZE, SIZES = 1000, (1, 1000, 77)
VLAN = 5

Frame = Callable[[Peer, int, int], Any]  # the frame of a piece of the stream, given its place


def lands_in_region(flow: CraftedFlow, frame: Frame, wire: Wire | None = None) -> None:
    """Send SIZES, each in such a frame; the bytes come right, and all by way of the region."""
    peer = flow.peer
    for size in SIZES:
        (wire or peer.wire).put(frame(peer, peer.sent.offset, size))
        peer.sent.offset += size
        peer.wait_queued(size)
        flow.drain(size)
    assert flow.tally.copied == 0, f"copied {flow.tally.copied} of {flow.tally.total} bytes"


# -- IPv4 options, IPv6 extension headers, TCP options ----------------------------------------


def ip_options() -> dict[str, Any]:
    """Name -> IPv4 options."""
    from scapy.layers import inet

    blank = 9 * ["0.0.0.0"]
    return {
        "one": [inet.IPOption_NOP()],
        "forty": [inet.IPOption_NOP()] * 40,
        "record-route": [inet.IPOption_RR(pointer=4, routers=blank)],
        "timestamp": [inet.IPOption_Timestamp(pointer=5, flg=0, timestamp=0)],
        "router-alert": [inet.IPOption_Router_Alert()],
    }


@contract("DEV-1")
@pytest.mark.parametrize("name", ["one", "forty", "record-route", "timestamp", "router-alert"])
def test_ip_options(station: Station, craft: Craft, name: str) -> None:
    """Payload behind IPv4 options lands in the region."""
    options = ip_options()[name]

    def frame(peer: Peer, at: int, size: int) -> Any:
        return peer.ether() / peer.ip(options=options) / peer.tcp(at, size)

    lands_in_region(craft(station), frame)


def extensions() -> dict[str, Any]:
    """Name -> IPv6 extension headers."""
    from scapy.layers import inet6

    # An option that none knows and that asks to be passed over (RFC 8200, 4.2).
    skipped = inet6.HBHOptUnknown(otype=0x1E, optdata=bytes(30))
    hop = inet6.IPv6ExtHdrHopByHop(options=[skipped])
    dest = inet6.IPv6ExtHdrDestOpt(options=[skipped, skipped])
    # No segment left: this is where it was to go (RFC 8200, 4.4).
    routing = inet6.IPv6ExtHdrRouting(type=253, segleft=0, addresses=["fd5a::1", "fd5a::2"])
    return {
        "hop-by-hop": hop,
        "destination": dest,
        "routing": routing,
        "all": hop / dest.copy() / routing / dest,
        "long": inet6.IPv6ExtHdrDestOpt(options=[skipped] * 7),
    }


@contract("DEV-1")
@pytest.mark.parametrize("name", ["hop-by-hop", "destination", "routing", "all", "long"])
def test_extension_headers(station: Station, craft: Craft, name: str) -> None:
    """Payload behind IPv6 extension headers lands in the region."""
    headers = extensions()[name]

    def frame(peer: Peer, at: int, size: int) -> Any:
        return peer.ether() / peer.ip() / headers.copy() / peer.tcp(at, size)

    lands_in_region(craft(station, 6), frame)


TCP_OPTIONS = {
    "timestamps": timestamps(1, 0),
    "timestamps-and-sack": timestamps(1, 0) + sack((1, 2), (3, 4), (5, 6)),
    "padding": b"\1" * 40,
    "unknown": bytes([254, 40]) + bytes(38),
}


@contract("DEV-1")
@both_families
def test_tcp_options(station: Station, craft: Craft, family: int) -> None:
    """Payload behind a TCP header of up to 60 bytes lands in the region."""
    flow = craft(station, family)
    for options in TCP_OPTIONS.values():

        def frame(peer: Peer, at: int, size: int, options: bytes = options) -> bytes:
            return peer.data(at, size, options=options)

        lands_in_region(flow, frame)


@contract("DEV-1")
def test_longest_headers(station: Station, craft: Craft) -> None:
    """Payload behind 60 bytes of IPv4 header and 60 of TCP lands in the region."""
    options = ip_options()["forty"]

    def frame(peer: Peer, at: int, size: int) -> Any:
        tcp = peer.tcp(at, size, options=[("NOP", None)] * 40)
        return peer.ether() / peer.ip(options=options) / tcp

    lands_in_region(craft(station), frame)


# -- VLAN tags --------------------------------------------------------------------------------


def tagged(frame: bytes, *tags: tuple[int, int]) -> bytes:
    """The frame with these tags, each a type and an id, in it."""
    inserted = b"".join(kind.to_bytes(2) + number.to_bytes(2) for kind, number in tags)
    return frame[:12] + inserted + frame[12:]


@pytest.fixture
def vlans(steered_link: Link) -> Iterator[str]:
    """A VLAN device on either end of the shared link: the name of the sender's."""
    try:
        with vlan(steered_link.rx, VLAN), vlan(steered_link.tx, VLAN) as name:
            yield name
    except Unsupported as error:
        pytest.skip(str(error))


@contract("DEV-1")
@both_families
def test_vlan_tag_within_a_tag(
    vlans: str, station: Station, steered_link: Link, craft: Craft, family: int
) -> None:
    """Payload behind two tags, one in the frame and one beside it, lands in the region."""
    ends = []
    for end in (steered_link.rx, steered_link.tx):
        with end.netlink() as ip:
            (ifindex,) = ip.link_lookup(ifname=vlans)
        ends.append(replace(end, ifname=vlans, ifindex=ifindex))
    with vlan(ends[0], VLAN + 2), vlan(ends[1], VLAN + 2) as name:
        wire = Wire(steered_link, name)
        try:
            lands_in_region(craft(station, family), Peer.data, wire)
        finally:
            wire.close()


@contract("DEV-1")
@both_families
def test_vlan_tag_in_the_frame(vlans: str, station: Station, craft: Craft, family: int) -> None:
    """Payload of a frame with an 802.1Q tag in it lands in the region."""

    def frame(peer: Peer, at: int, size: int) -> bytes:
        return tagged(peer.data(at, size), (0x8100, VLAN))

    lands_in_region(craft(station, family), frame)


@contract("DEV-1")
@both_families
def test_vlan_tag_beside_the_frame(
    vlans: str, station: Station, steered_link: Link, craft: Craft, family: int
) -> None:
    """Payload of a frame whose 802.1Q tag the device carries beside it lands in the region."""
    wire = Wire(steered_link, vlans)
    try:
        lands_in_region(craft(station, family), Peer.data, wire)
    finally:
        wire.close()


@contract("REL-3", "RECV-21")
@both_families
def test_generic_program_of_a_vlan(
    vlans: str, steered_link: Link, make_station: MakeStation, craft: Craft, family: int
) -> None:
    """A generic program of a VLAN device is that device's own: it is let in, and frames are copied.

    Frames without the tag do not pass it, and land in the region as before.
    """
    station = make_station(copies=32)
    flow = craft(station, family)

    def send(tags: list[tuple[int, int]]) -> None:
        for size in SIZES:
            flow.peer.put(tagged(flow.peer.next(size), *tags))
            flow.peer.wait_queued(size)
            flow.drain(size)

    with steered_link.rx.netlink() as ip:
        (ifindex,) = ip.link_lookup(ifname=vlans)  # as the sender's is called
    with xdp.attached(replace(steered_link.rx, ifname=vlans, ifindex=ifindex), xdp.GENERIC):
        send([(0x8100, VLAN)])
        assert flow.tally.zero_copy == 0, f"linearised frames: {flow.tally}"
        send([])
        assert flow.tally.copied == sum(SIZES), f"frames without a tag: {flow.tally}"
        station.at_rest()
    send([(0x8100, VLAN)])
    assert flow.tally.copied == sum(SIZES), f"after the program has gone: {flow.tally}"


# -- with copies about -------------------------------------------------------------------------


@contract("BUF-2", "RECV-19")
@both_families
def test_headers_that_change_under_a_tap(
    vlans: str, station: Station, craft: Craft, family: int
) -> None:
    """The stack writes into headers of frames that a packet socket has, too: no reference is lost.

    Options are filled in, tags and headers taken off. The packet socket reads the right bytes.
    """
    between = [None, *({4: ip_options, 6: extensions}[family]().values())]
    flow = craft(station, family)
    peer, tapped = flow.peer, tap(station.link.rx)
    with tapped:
        for number, extra in enumerate(between):
            if extra is None:
                packet = peer.ip() / peer.tcp(peer.sent.offset, SIZE)
            elif family == 4:
                packet = peer.ip(options=extra) / peer.tcp(peer.sent.offset, SIZE)
            else:
                packet = peer.ip() / extra / peer.tcp(peer.sent.offset, SIZE)
            frame = bytes(peer.ether() / packet)
            peer.put(tagged(frame, (0x8100, VLAN)) if number % 2 else frame)
            peer.sent.offset += SIZE
        peer.wait_queued(SIZE * len(between))
        flow.drain(SIZE * len(between))
        for number in range(len(between)):
            peer.sent.pattern.check(number * SIZE, next_from(tapped, MAC)[-SIZE:])


@contract("BUF-2", "BUF-3", "RECV-19")
@both_families
def test_segment_that_is_joined_while_a_tap_has_it(
    prompt_frees: None, make_station: MakeStation, craft: Craft, family: int
) -> None:
    """TCP joins a segment to the one before while a packet socket has it, too: both read it right.

    The packet socket does so when the region has been used over and over again.
    """
    station = make_station(pages=8)
    flow = craft(station, family)
    peer = flow.peer
    peer.feed(SIZE)
    peer.wait_queued(SIZE)  # nobody else has this one, so others can be joined to it
    with tap(station.link.rx) as tapped:
        peer.feed(SIZE)
        peer.wait_queued(2 * SIZE)
        tapped.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)  # full, by what it has
        flow.drain(2 * SIZE)
        for _ in range(32):
            peer.feed(SIZE)
            flow.drain(SIZE)
        peer.sent.pattern.check(SIZE, next_from(tapped, MAC)[-SIZE:])
