# SPDX-License-Identifier: GPL-2.0
"""Frames that never make it to the stream: nothing of them is delivered, no page is lost.

They carry bytes that are not the stream's, at the place that comes next in it. The right segment
then follows on the same queue: when it has arrived, they have been dealt with, and had one of them
been let in, its bytes would have taken the right ones' place.
"""

import ctypes
import select
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from fixtures.peers import Craft, CraftedFlow
from fixtures.stations import Station
from lib.deadline import wait_until
from netns.frames import ETH_HEADER, IP_HEADER, Flag, timestamps
from netns.packet import tap
from netns.peer import Peer, offload

contract = pytest.mark.contract
both_families = pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])
SIZE = 1000

Bad = Callable[[Peer], Any]


def patched(frame: bytes, at: int, new: bytes) -> bytes:
    """The frame with these bytes in that place."""
    return frame[:at] + new + frame[at + len(new) :]


def flipped(frame: bytes, at: int) -> bytes:
    """The frame with the bits of one byte inverted."""
    at %= len(frame)
    return patched(frame, at, bytes([frame[at] ^ 0xFF]))


def wrong(peer: Peer, flags: Flag = Flag.ACK, *, ahead: int = 0, **header: Any) -> bytes:
    """A segment of wrong bytes for the next place in the stream, or further ahead."""
    at = peer.sent.offset + ahead
    return peer.data(at, peer.garbage(peer.sent.offset, SIZE), flags, **header)


def at_tcp(peer: Peer, offset: int) -> int:
    """Where that byte of the TCP header is in a frame."""
    return ETH_HEADER + IP_HEADER[peer.family] + offset


def addressed(peer: Peer, *, source: str = "", destination: str = "", mac: str = "") -> bytes:
    """A segment of wrong bytes with other addresses."""
    path, kept = peer.path, peer.path
    addresses = (source or path.addresses[0], destination or path.addresses[1])
    peer.path = replace(path, addresses=addresses, macs=(path.macs[0], mac or path.macs[1]))
    try:
        return wrong(peer)
    finally:
        peer.path = kept


def ported(peer: Peer, ports: tuple[int, int]) -> bytes:
    """A segment of wrong bytes for other ports."""
    path = peer.path
    segment = replace(path, ports=ports).tcp(1, 1, Flag.ACK, peer.garbage(0, SIZE))
    return path.ethernet(path.ip(segment))


def cut(peer: Peer, length: int) -> bytes:
    """A packet that ends after that much TCP, and says so."""
    return peer.path.ethernet(peer.path.ip(wrong(peer)[at_tcp(peer, 0) :][:length]))


NO_TCP_SEES: dict[str, Bad] = {
    "another-mac": lambda peer: addressed(peer, mac="02:5a:c7:a9:00:77"),
    "multicast-mac": lambda peer: addressed(peer, mac="01:00:5e:00:00:01"),
    "broadcast-mac": lambda peer: addressed(peer, mac="ff:ff:ff:ff:ff:ff"),
    "another-host": lambda peer: addressed(
        peer, destination={4: "198.18.0.77", 6: "fd5a:c7a9::77"}[peer.family]
    ),
    "loopback-source": lambda peer: addressed(peer, source={4: "127.0.0.1", 6: "::1"}[peer.family]),
    "ip-version": lambda peer: flipped(wrong(peer), ETH_HEADER),
    "unknown-vlans": lambda peer: (
        wrong(peer)[:12] + b"\x88\xa8\0\x07\x81\0\0\x09" + wrong(peer)[12:]
    ),
    "cut-off-in-the-payload": lambda peer: wrong(peer)[:-100],
    "cut-off-in-the-tcp-header": lambda peer: wrong(peer)[: at_tcp(peer, 10)],
    "cut-off-in-the-ip-header": lambda peer: wrong(peer)[: ETH_HEADER + 10],
    "nothing-but-ethernet": lambda peer: wrong(peer)[:ETH_HEADER],
}
NO_SOCKET_SEES: dict[str, Bad] = {
    "checksum": lambda peer: flipped(wrong(peer), at_tcp(peer, 16)),
    "checksum-of-payload": lambda peer: flipped(wrong(peer), -1),
    "short-tcp-header": lambda peer: cut(peer, 10),
    "header-length-too-small": lambda peer: patched(wrong(peer), at_tcp(peer, 12), b"\x40"),
    "header-length-beyond-the-end": lambda peer: patched(cut(peer, 30), at_tcp(peer, 12), b"\xf0"),
    "no-such-port": lambda peer: ported(peer, (peer.path.ports[0], 1)),
    "another-source-port": lambda peer: ported(peer, (1, peer.path.ports[1])),
}
SOCKET_DROPS: dict[str, Bad] = {
    "no-flags": lambda peer: wrong(peer, Flag(0)),
    "behind-the-window": lambda peer: wrong(peer, ahead=1 << 24),
    "before-the-window": lambda peer: wrong(peer, ahead=-(1 << 24)),
    "ack-of-unsent-data": lambda peer: wrong(peer, ack=10_000),
    "syn": lambda peer: wrong(peer, Flag.SYN),
    "rst-behind-the-window": lambda peer: wrong(peer, Flag.RST, ahead=1 << 24),
    "rst-not-quite-next": lambda peer: wrong(peer, Flag.RST, ahead=1),
}


def scapy_ip(**fields: Any) -> Bad:
    """A segment of wrong bytes in a packet with these fields."""

    def make(peer: Peer) -> Any:
        return peer.ether() / peer.ip(**fields) / peer.tcp(0, b"x" * SIZE)

    return make


def odd_packets(family: int) -> dict[str, Bad]:
    """What IP itself drops."""
    from scapy.layers import inet, inet6

    if family == 4:
        route = inet.IPOption_LSRR(pointer=4, routers=["198.18.0.2", "198.18.0.3"])
        return {
            "ip-checksum": lambda peer: flipped(wrong(peer), ETH_HEADER + 10),
            "ip-header-length": lambda peer: patched(wrong(peer), ETH_HEADER, b"\x44"),
            "ip-length-within-its-header": scapy_ip(len=19),
            "option-beyond-its-header": scapy_ip(options=[inet.IPOption(b"\x07\x27\x04")]),
            "source-route": scapy_ip(options=[route]),
        }

    def between(header: Any) -> Bad:
        return lambda peer: peer.ether() / peer.ip() / header / peer.tcp(0, b"x" * SIZE)

    discard = inet6.HBHOptUnknown(otype=0x5E, optdata=bytes(4))
    return {
        "hop-by-hop-option-says-discard": between(inet6.IPv6ExtHdrHopByHop(options=[discard])),
        "destination-option-says-discard": between(inet6.IPv6ExtHdrDestOpt(options=[discard])),
        "routing-on": between(inet6.IPv6ExtHdrRouting(type=2, segleft=1, addresses=["fd5a::1"])),
        "hop-by-hop-in-second-place": between(
            inet6.IPv6ExtHdrDestOpt() / inet6.IPv6ExtHdrHopByHop()
        ),
        "no-next-header": between(inet6.IPv6ExtHdrDestOpt(nh=59)),
        "header-beyond-the-end": between(inet6.IPv6ExtHdrDestOpt(len=255)),
    }


def still_flows(flow: CraftedFlow) -> None:
    """The right bytes for that place are taken, and all by way of the region."""
    flow.peer.put(flow.peer.next(SIZE))
    flow.peer.wait_queued(SIZE)
    assert flow.peer.queued() == SIZE
    flow.drain(SIZE)
    assert flow.tally.copied == 0


def all_refused(station: Station, flow: CraftedFlow, frames: dict[str, Bad]) -> None:
    """Send each frame a few times; the stream goes on behind it, and no page is missing."""
    for name, bad in frames.items():
        flow.peer.put(*[bad(flow.peer)] * 3)
        try:
            still_flows(flow)
            station.at_rest()
        except (AssertionError, TimeoutError) as error:
            raise AssertionError(f"after three frames {name!r}: {error}") from error


@contract("DEV-1", "BUF-2", "BUF-3")
@both_families
@pytest.mark.parametrize(
    "frames",
    [NO_TCP_SEES, NO_SOCKET_SEES, SOCKET_DROPS],
    ids=["before-tcp", "before-the-socket", "by-the-socket"],
)
def test_refused_frames(
    station: Station, craft: Craft, family: int, frames: dict[str, Bad]
) -> None:
    """What is dropped on its way leaves the stream alone, and its pages come free."""
    all_refused(station, craft(station, family), frames)


@contract("DEV-1", "BUF-2", "BUF-3")
@both_families
def test_packets_that_ip_refuses(station: Station, craft: Craft, family: int) -> None:
    """The same for headers and options that IP does not let pass."""
    all_refused(station, craft(station, family), odd_packets(family))


@contract("BUF-2", "BUF-3")
def test_segment_of_the_past(station: Station, craft: Craft) -> None:
    """A segment whose timestamp has long passed is dropped (PAWS), and its page comes free."""
    flow = craft(station, timed=True)
    still_flows(flow)
    old = timestamps(1, 0)  # the peer's clock began at 1000
    all_refused(station, flow, {"old": lambda peer: wrong(peer, options=old)})


@contract("BUF-2", "RECV-19")
@pytest.mark.parametrize("size", [1000, 20_000])
def test_socket_filter_cuts_segments(station: Station, craft: Craft, size: int) -> None:
    """What a socket filter cuts off a frame is not delivered, nor lost: it is sent again."""
    flow, kept = craft(station), size * 3 // 10
    peer = flow.peer
    with filtered(peer.rx, 20 + kept):  # header and payload
        for at in range(0, size, kept):
            # Its checksum is not of what is left of it: it must have been seen to by the device.
            peer.put(peer.data(at, size - at, summed=False), offload=offload(1400))
            peer.wait_queued(min(at + kept, size))
            assert peer.queued() == min(at + kept, size)
    flow.drain(size)


@contextmanager
def filtered(sock: socket.socket, length: int) -> Iterator[None]:
    """Inside, the socket takes so many bytes of each packet (SO_ATTACH_FILTER, socket(7))."""
    code = ctypes.create_string_buffer(struct.pack("<HBBI", 0x06, 0, 0, length))  # BPF_RET | K
    program = struct.pack("<HxxxxxxQ", 1, ctypes.addressof(code))
    sock.setsockopt(socket.SOL_SOCKET, 26, program)
    try:
        yield
    finally:
        sock.setsockopt(socket.SOL_SOCKET, 27, bytes(4))


@contract("DEV-1", "RECV-19", "BUF-2")
@both_families
@pytest.mark.parametrize("extra", [1, 46, 400])
def test_padding_is_no_data(station: Station, craft: Craft, family: int, extra: int) -> None:
    """What follows a packet in its frame, as padding of short frames does, is not delivered."""
    flow = craft(station, family)
    for size in (0, 1, SIZE):
        flow.peer.put(flow.peer.next(size) + b"\x5a" * extra)
        still_flows(flow) if not size else flow.drain(size)
    still_flows(flow)


def arrives_whole(station: Station, peer: Peer, frame: bytes) -> None:
    """Put a frame on the link, and see that a packet socket gets all of it."""
    with tap(station.link.rx) as sock:
        seen: list[bytes] = []

        def there() -> bool:
            with suppress(BlockingIOError):
                seen.append(sock.recv(1 << 17))
            return frame in seen

        def missing() -> str:
            sizes = [len(one) for one in seen]
            return f"expected a frame of {len(frame)} bytes as it was sent, seen: {sizes} bytes"

        peer.put(frame)
        wait_until(there, missing)


@contract("DEV-2")
@both_families
@pytest.mark.parametrize("extra", [1, 6, 46])
def test_frame_stays_whole(station: Station, craft: Craft, family: int, extra: int) -> None:
    """What follows a packet in its frame, as PRP's trailers do, is there for other protocols."""
    flow = craft(station, family)
    for size in (0, 1, SIZE):
        arrives_whole(station, flow.peer, flow.peer.next(size) + b"\x5a" * extra)
        flow.drain(size)
    still_flows(flow)


@contract("DEV-2")
@pytest.mark.parametrize("length", [0, 1, 20, 39])
def test_packet_shorter_than_its_headers(station: Station, craft: Craft, length: int) -> None:
    """A frame whose IP header is not to be believed is left as it is, and not delivered."""
    flow = craft(station)
    frame = patched(wrong(flow.peer), ETH_HEADER + 2, struct.pack("!H", length))
    arrives_whole(station, flow.peer, frame)
    still_flows(flow)


def no_header() -> dict[str, Bad]:
    """Frames without a whole TCP header."""
    tcp = ("short-tcp-header", "header-length-too-small", "header-length-beyond-the-end")
    cut_off = ("cut-off-in-the-tcp-header", "cut-off-in-the-ip-header")
    found = {name: NO_SOCKET_SEES[name] for name in tcp}
    found |= {name: NO_TCP_SEES[name] for name in cut_off}
    return found | {"another-type": lambda peer: patched(wrong(peer), 12, b"\x88\xb5")}


@contract("DEV-1", "DEV-2")
@both_families
@pytest.mark.parametrize("name", no_header())
def test_nothing_to_split_at(station: Station, craft: Craft, family: int, name: str) -> None:
    """Such a frame lies on system pages, also while a packet socket has it."""
    flow = craft(station, family)
    with tap(station.link.rx) as sock:
        flow.peer.put(no_header()[name](flow.peer))
        wait_until(lambda: select.select([sock], [], [], 0)[0], "no frame at the packet socket")
        station.at_rest()
    still_flows(flow)
