# SPDX-License-Identifier: GPL-2.0
"""Packet sockets: what one sees of a TCP stream that passes by (packet(7))."""

import errno
import mmap
import socket
import struct

from lib.deadline import wait_until
from lib.pattern import Pattern
from netns.frames import ETHERTYPE, IP_HEADER, parse
from netns.link import End

_ETH_P_ALL = 0x0003
_SOL_PACKET, _RX_RING, _IGNORE_OUTGOING = 263, 5, 23  # linux/socket.h, linux/if_packet.h
_OUTGOING = 4  # PACKET_OUTGOING
_RCVBUFFORCE = 33
_ETHER, _PROTO_TCP = 14, 6
_LARGEST = 1 << 17


class Gathered:
    """A stream put together from its segments, in whatever order and how often they come.

    The first segment that is added must be the one the pattern begins with.
    """

    def __init__(self, pattern: Pattern, port: int) -> None:
        self._pattern, self._port = pattern, port
        self._first: int | None = None
        self._pieces: dict[int, int] = {}  # offset -> length

    def add(self, frame: bytes) -> None:
        """Check the payload of an Ethernet frame with IPv4; other streams' are passed over."""
        if frame[12:14] != b"\x08\x00" or frame[_ETHER + 9] != _PROTO_TCP:
            return
        (total,) = struct.unpack_from("!H", frame, _ETHER + 2)
        tcp = _ETHER + 4 * (frame[_ETHER] & 15)
        _, port, sequence = struct.unpack_from("!HHI", frame, tcp)
        payload = frame[tcp + 4 * (frame[tcp + 12] >> 4) : _ETHER + total]
        if port != self._port or not payload:
            return
        if self._first is None:
            self._first = sequence
        offset = (sequence - self._first) & 0xFFFFFFFF
        self._pattern.check(offset, payload)
        self._pieces[offset] = max(len(payload), self._pieces.get(offset, 0))

    @property
    def length(self) -> int:
        """Bytes from the start of the stream that have been seen without a gap."""
        end = 0
        for offset in sorted(self._pieces):
            if offset > end:
                break
            end = max(end, offset + self._pieces[offset])
        return end


def next_from(tapped: socket.socket, mac: str) -> bytes:
    """Return the next frame in a packet socket that was sent from `mac`.

    What either end sends by itself, MLD, IGMP or ARP, is passed over.
    """
    source = bytes.fromhex(mac.replace(":", ""))
    while (frame := tapped.recv(2000))[6:12] != source:
        pass
    return frame


def tap(end: End, *, outgoing: bool = False) -> socket.socket:
    """A packet socket that sees what the device receives (or only what it sends)."""
    sock = end.ns.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sock.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, 8 << 20)
    if not outgoing:
        sock.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
    sock.bind((end.ifname, _ETH_P_ALL))
    sock.setblocking(False)
    return sock


def read_all(sock: socket.socket, into: Gathered, *, outgoing: bool = False) -> None:
    """Add every frame that lies in the socket."""
    while True:
        try:
            frame, address = sock.recvfrom(_LARGEST)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENETDOWN:
                raise
            continue  # told once when the device has gone; what it has received is still there
        if (address[2] == _OUTGOING) == outgoing:
            into.add(frame)


def next_segment(sock: socket.socket, port: int) -> tuple[int, int, int, int]:
    """Bytes of the next segment with payload for a TCP port: Ethernet, IP, TCP header, payload.

    Waits for it, with TimeoutError. Takes any other frame away.
    """

    def found() -> tuple[int, int, int, int] | None:
        while True:
            try:
                frame = sock.recv(_LARGEST)
            except BlockingIOError:
                return None
            segment = parse(frame)
            if segment and segment.ports[1] == port and segment.payload:
                (kind,) = struct.unpack_from("!H", frame, 12)
                ip = IP_HEADER[6] if kind == ETHERTYPE[6] else 4 * (frame[_ETHER] & 15)
                length = len(segment.payload)
                return _ETHER, ip, len(frame) - _ETHER - ip - length, length

    segment = wait_until(found, f"no segment for port {port} passes by", 5)
    assert segment
    return segment


class MappedRing:
    """A packet socket with PACKET_RX_RING (TPACKET_V1): frames are copied into shared memory."""

    FRAMES, SIZE = 128, 1 << 11

    def __init__(self, end: End) -> None:
        self.sock = end.ns.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self.sock.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
        length = self.FRAMES * self.SIZE
        # struct tpacket_req: block size, blocks, frame size, frames
        req = struct.pack("IIII", 1 << 14, length >> 14, self.SIZE, self.FRAMES)
        self.sock.setsockopt(_SOL_PACKET, _RX_RING, req)
        self._map = mmap.mmap(self.sock.fileno(), length)
        self.sock.bind((end.ifname, _ETH_P_ALL))

    def read_all(self, into: Gathered) -> None:
        """Add every frame that lies in the ring, and leave it there."""
        for at in range(0, len(self._map), self.SIZE):
            # struct tpacket_hdr: status, len, snaplen, mac
            status, _, snaplen, mac = struct.unpack_from("LIIH", self._map, at)
            if status & 1:  # TP_STATUS_USER
                into.add(self._map[at + mac : at + mac + snaplen])

    def close(self) -> None:
        """Unmap and close."""
        self._map.close()
        self.sock.close()
