# SPDX-License-Identifier: GPL-2.0
"""What is no plain TCP on the bound queue takes system pages and is treated as before (DEV-2).

A region with unread data in it would not be at rest: skbs would hold its pages.
"""

import contextlib
import socket
import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from fixtures.peers import Craft
from fixtures.stations import Flow, MakeStation, Station
from lib.deadline import wait_until
from lib.uring import PAGE
from netns import Link, Unsupported
from netns.device import segmentation_up_to, tunnel
from netns.frames import ETH_HEADER, IP_HEADER, IPPROTO_TCP
from netns.packet import next_from, tap
from netns.peer import ADDRESS, MAC, Peer, Wire

contract = pytest.mark.contract
pytestmark = pytest.mark.own_device
both_families = pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
SIZE = 1000
# Wherever in it somebody looks for a TCP header, it has a data offset of 5 to 9.
BODY = bytes(range(0x50, 0xA0)) * 12 + bytes(range(0x50, 0x78))


def ip(wire: Wire, family: int, **fields: Any) -> Any:
    """scapy's Ethernet and IP headers, from the peer to the receiving end."""
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.l2 import Ether

    addresses = {"src": ADDRESS[family], "dst": wire.link.rx.address(family)}
    header = (IP if family == 4 else IPv6)(**addresses | fields)
    return Ether(src=MAC, dst=wire.mac) / header


def answer(wire: Wire, parts: dict[int, bytes]) -> bytes:
    """Wait for a frame with these bytes in those places: there may be others, MLD's and ARP's."""
    found: list[bytes] = []

    def come() -> list[bytes]:
        for frame in wire.collect():
            if all(frame[at:].startswith(part) for at, part in parts.items()):
                found.append(frame)
        return found

    return wait_until(come, f"no answer with {parts}", 5)[0]


# -- other protocols ---------------------------------------------------------------------------


@pytest.fixture
def kept(station: Station) -> Iterator[None]:
    """A packet socket keeps what comes in, on its pages: in the region, nothing is at rest."""
    with tap(station.link.rx):
        yield


@contract("DEV-2")
@both_families
def test_datagrams(kept: None, station: Station, wire: Wire, family: int) -> None:
    """UDP arrives whole, on system pages."""
    from scapy.layers.inet import UDP

    bodies = [b"", BODY[:1], BODY]
    with station.link.rx.ns.socket(FAMILY[family], socket.SOCK_DGRAM) as sock:
        sock.bind((station.link.rx.address(family), 0))
        for body in bodies:
            wire.put(ip(wire, family) / UDP(sport=7, dport=sock.getsockname()[1]) / body)
        sock.settimeout(30)
        assert [sock.recv(2000) for _ in bodies] == bodies
    station.at_rest()


@contract("DEV-2")
def test_multicast(kept: None, station: Station, wire: Wire) -> None:
    """A datagram to a group arrives at those who have joined it."""
    from scapy.layers.inet import UDP

    group = "239.90.199.169"
    with station.link.rx.ns.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        member = socket.inet_aton(group) + bytes(4) + struct.pack("i", station.link.rx.ifindex)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        sock.bind((group, 0))
        frame = ip(wire, 4, dst=group) / UDP(sport=7, dport=sock.getsockname()[1]) / BODY
        frame.dst = "01:00:5e:5a:c7:a9"
        wire.put(frame)
        sock.settimeout(30)
        assert sock.recv(2000) == BODY
    station.at_rest()


@contract("DEV-2")
@both_families
def test_echo(kept: None, station: Station, wire: Wire, family: int) -> None:
    """A ping is answered, with what was in it."""
    from scapy.layers.inet import ICMP
    from scapy.layers.inet6 import ICMPv6EchoRequest

    if family == 4:
        wire.put(ip(wire, 4) / ICMP(id=7, seq=1) / BODY)
        reply = answer(wire, {12: b"\x08\0", 23: b"\1", ETH_HEADER + IP_HEADER[4]: b"\0\0"})
    else:
        wire.put(ip(wire, 6) / ICMPv6EchoRequest(id=7, seq=1, data=BODY))
        reply = answer(wire, {12: b"\x86\xdd", ETH_HEADER + IP_HEADER[6]: b"\x81\0"})
    assert reply[ETH_HEADER + IP_HEADER[family] + 8 :] == BODY
    station.at_rest()


@contract("DEV-2")
def test_neighbours_are_found(kept: None, station: Station, wire: Wire) -> None:
    """ARP and neighbour discovery are answered."""
    from scapy.layers.inet6 import ICMPv6ND_NS
    from scapy.layers.l2 import ARP, Ether

    wire.put(
        Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff")
        / ARP(hwsrc=MAC, psrc=ADDRESS[4], pdst=station.link.rx.address(4))
    )
    mac = bytes.fromhex(wire.mac.replace(":", ""))
    assert answer(wire, {12: b"\x08\x06", 20: b"\0\2"})[22:28] == mac
    wire.put(ip(wire, 6, hlim=255) / ICMPv6ND_NS(tgt=station.link.rx.address(6)))
    answer(wire, {12: b"\x86\xdd", ETH_HEADER + IP_HEADER[6]: b"\x88\0"})
    station.at_rest()


@contract("DEV-2")
def test_other_frames(kept: None, station: Station, wire: Wire) -> None:
    """Ethernet types that are no IP, and frames of IEEE 802.3, reach a packet socket whole."""
    frames = [
        bytes.fromhex(f"{address}{MAC}".replace(":", "")) + kind + BODY
        for address in (wire.mac, "ff:ff:ff:ff:ff:ff")
        for kind in (b"\x88\xb5", len(BODY).to_bytes(2))
    ]
    with station.link.rx.ns.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        with station.link.rx.ns.entered():
            sock.bind((station.link.rx.ifname, 0x0003))
        wire.put(*frames)
        sock.settimeout(30)
        seen = [next_from(sock, MAC) for _ in frames]
    assert seen == frames, [frames.index(frame) if frame in frames else frame for frame in seen]
    station.at_rest()


@contract("DEV-2")
@both_families
def test_other_transports(kept: None, station: Station, wire: Wire, family: int) -> None:
    """A protocol that is no TCP reaches a raw socket whole, on system pages."""
    path, protocol = wire.path(family), 253  # for experiments, RFC 3692
    with station.link.rx.ns.socket(FAMILY[family], socket.SOCK_RAW, protocol) as sock:
        wire.put(path.ethernet(path.ip(BODY, protocol)))
        sock.settimeout(30)
        assert sock.recv(2000).endswith(BODY)
    station.at_rest()


# -- TCP, but not plain ------------------------------------------------------------------------


def segment(peer: Peer, at: int, size: int) -> bytes:
    """A TCP segment of the stream, without IP and Ethernet."""
    return peer.data(at, size)[ETH_HEADER + IP_HEADER[peer.family] :]


def fragments(peer: Peer, at: int, sizes: tuple[int, ...], number: int) -> list[Any]:
    """A segment of SIZE bytes in IP fragments that end at these bytes of it, and the last."""
    from scapy.layers.inet6 import IPv6ExtHdrFragment

    body = segment(peer, at, SIZE)
    places = [0, *sizes, len(body)]
    frames = []
    for start, end in pairwise(places):
        more = end < len(body)
        if peer.family == 4:
            header = peer.ip(proto=IPPROTO_TCP, id=number, frag=start // 8, flags=int(more))
        else:
            fragment = IPv6ExtHdrFragment(nh=IPPROTO_TCP, offset=start // 8, m=more, id=number)
            header = peer.ip() / fragment
        frames.append(peer.ether() / header / body[start:end])
    return frames


@contract("DEV-2", "RECV-21", "RECV-19")
@both_families
def test_fragments(station: Station, craft: Craft, family: int) -> None:
    """A segment in IP fragments, in whatever order, is copied from system pages, and right."""
    flow = craft(station, family)
    peer = flow.peer
    least = {4: 8, 6: 24}[family]  # of IPv6 the first one has all headers (RFC 7112)
    cases = [((512,), 1), ((24, 800), -1), ((least, least + 8, 504), -1)]
    for number, (sizes, turn) in enumerate(cases):
        peer.put(*fragments(peer, peer.sent.offset, sizes, 700 + number)[::turn])
        peer.sent.offset += SIZE
        peer.wait_queued(SIZE)
        station.at_rest()
        flow.drain(SIZE)
        assert (flow.tally.copied, flow.tally.zero_copy) == (SIZE * (number + 1), SIZE * number)
        peer.feed(SIZE)
        flow.drain(SIZE)


@contract("DEV-2", "BUF-3")
@both_families
def test_fragments_that_are_not_all_there(station: Station, craft: Craft, family: int) -> None:
    """Fragments that wait for others, or overlap, keep no page of the region."""
    flow = craft(station, family)
    first, *rest = fragments(flow.peer, 0, (504, 800), 800)
    flow.peer.put(*rest)
    again, _ = fragments(flow.peer, 0, (600,), 801)
    flow.peer.put(again, fragments(flow.peer, 0, (504, 800), 801)[1])
    flow.peer.probe()
    station.at_rest()
    assert flow.peer.queued() == 0
    flow.peer.put(first)
    flow.peer.sent.offset = SIZE
    flow.drain(SIZE)


@pytest.fixture
def tunnelled(steered_link: Link, family: int) -> Iterator[None]:
    """The receiving end unpacks packets of the test's family out of the peer's packets."""
    try:
        with tunnel(steered_link.rx, family, ADDRESS[family]):
            yield
    except Unsupported as error:
        pytest.skip(str(error))


@contract("DEV-2", "RECV-21", "RECV-19")
@both_families
def test_tunnels(tunnelled: None, station: Station, craft: Craft, family: int) -> None:
    """Segments that come through a tunnel are copied, those beside it are not."""
    flow = craft(station, family)
    peer, protocol = flow.peer, {4: 4, 6: 41}[family]
    for turn in range(3):
        inner = peer.next(SIZE)[ETH_HEADER:]
        peer.put(peer.path.ethernet(peer.path.ip(inner, protocol)))
        peer.wait_queued(SIZE)
        station.at_rest()
        flow.drain(SIZE)
        assert (flow.tally.copied, flow.tally.zero_copy) == (SIZE * (turn + 1), SIZE * turn)
        peer.feed(SIZE)
        flow.drain(SIZE)


@pytest.fixture
def big_frames(request: pytest.FixtureRequest, steered_link: Link) -> Iterator[None]:
    """The sending end makes frames of up to so many bytes (IPv6 jumbograms, RFC 2675)."""
    try:
        with segmentation_up_to(steered_link.tx, request.param):
            yield
    except Unsupported as error:
        pytest.skip(str(error))


def big_transfer(station: Station, enough: int, **options: Any) -> Flow:
    """A stream that TCP has sent a frame of at least `enough` bytes of; skips if it does not."""
    flow, largest = station.flow(6, rcvbuf=2 << 20, **options), 0
    with tap(station.link.tx, outgoing=True) as sent:
        for _ in range(16):
            flow.transfer(1 << 20)
            largest = max(largest, *lengths(sent))
            if largest > enough:
                return flow
    pytest.skip(f"TCP has made frames of up to {largest} bytes only")


HEADERS = 200  # more than all headers of a frame


@contract("DEV-2", "RECV-21", "RECV-19")
@pytest.mark.parametrize("big_frames", [180_000], indirect=True)
def test_frames_of_more_than_17_pages(big_frames: None, make_station: MakeStation) -> None:
    """A frame of more payload than 17 pages is copied from system pages, and right."""
    flow = big_transfer(make_station(pages=1024), 17 * PAGE + HEADERS)
    assert flow.tally.copied > 17 * PAGE


@contract("DEV-1", "RECV-19")
@pytest.mark.parametrize("big_frames", [17 * PAGE], indirect=True)
def test_frames_of_17_pages(big_frames: None, make_station: MakeStation) -> None:
    """A frame of more payload than 16 pages, and no more than 17, lands in the region."""
    flow = big_transfer(make_station(pages=1024), 16 * PAGE + HEADERS)
    copied, total = flow.tally.copied, flow.tally.total
    assert copied * 500 <= total, f"expected 2 bytes in 1000 copied at most, seen {flow.tally}"


@contract("DEV-1", "RECV-19")
@pytest.mark.parametrize("big_frames", [17 * PAGE + 800], indirect=True)
def test_frames_of_17_full_pages(big_frames: None, make_station: MakeStation) -> None:
    """64 segments of 1088 bytes, which fill 17 pages to the last byte, land in the region."""
    flow = big_transfer(make_station(pages=1024), 17 * PAGE, mss=1100)  # 12 for timestamps
    assert flow.tally.copied * 500 <= flow.tally.total, flow.tally


def lengths(sock: socket.socket) -> list[int]:
    """How long each of the frames is that lie in a packet socket."""
    found, buffer = [0], bytearray(1)
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(sock.recv_into(buffer, 0, socket.MSG_TRUNC))
    return found
