# SPDX-License-Identifier: GPL-2.0
"""A TCP peer without a TCP: every frame it sends is made by hand.

It has an address that no stack owns, on the link's sending end, and a packet socket there. The
receiving end finds it by a permanent neighbour entry; the sending end's own stack drops what comes
for it, as for another host, so that no RST gets in between (packet(7)).
"""

import contextlib
import itertools
import socket
import struct
from typing import Any
from weakref import WeakKeyDictionary

from lib.cpus import allowed, on_cpu
from lib.deadline import wait_until
from lib.pattern import Pattern
from netns.frames import (
    ETH_HEADER,
    IP_HEADER,
    SACK_PERMITTED,
    TCP_HEADER,
    Flag,
    Path,
    Segment,
    maximum_segment,
    parse,
    timestamps,
    window_scale,
)
from netns.link import Link
from netns.tcp import Connection

MAC = "02:5a:c7:a9:00:09"  # locally administered
ADDRESS = {4: "198.18.0.9", 6: "fd5a:c7a9::9"}  # in LinkSpec's networks

_ETH_P_ALL = 0x0003
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33  # asm-generic/socket.h
_SOL_PACKET, _VNET_HDR, _IGNORE_OUTGOING = 263, 15, 23  # linux/if_packet.h
_NO_OFFLOAD = bytes(10)
_INVERTED = bytes(range(255, -1, -1))

_ports = itertools.count(20_000)
_mac_of: WeakKeyDictionary[Link, str] = WeakKeyDictionary()


def _introduce(link: Link) -> str:
    """Tell the receiving end where the peer is, once a link; the receiving end's MAC address."""
    if link not in _mac_of:
        for address in ADDRESS.values():
            link.rx.neighbour(address, MAC)
        _mac_of[link] = link.rx.mac()
    return _mac_of[link]


def offload(size: int = 0, *, family: int = 4, linear: int = 0) -> bytes:
    """A struct virtio_net_hdr: the device finishes the checksum, and cuts the frame up.

    size: bytes of payload a segment, 0 for a single one. linear: how much of the frame lies in
    one piece at least.
    """
    kind = {4: 1, 6: 4}[family] if size else 0  # VIRTIO_NET_HDR_GSO_TCPV4, _TCPV6
    start = ETH_HEADER + IP_HEADER[family]
    return struct.pack("<BBHHHH", 1, kind, linear or start + TCP_HEADER, size, start, 16)


class Wire:
    """A packet socket on the sending end: put frames on the link, see what comes back."""

    def __init__(self, link: Link, ifname: str = "") -> None:
        self.link, self.mac = link, _introduce(link)
        self.sock = link.tx.ns.socket(socket.AF_PACKET, socket.SOCK_RAW)
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, 4 << 20)  # send() never waits
            self.sock.setsockopt(_SOL_PACKET, _VNET_HDR, 1)
            self.sock.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
            self.sock.bind((ifname or link.tx.ifname, _ETH_P_ALL))
        except BaseException:
            self.sock.close()
            raise
        self.sock.setblocking(False)

    def path(self, family: int, ports: tuple[int, int] = (0, 0)) -> Path:
        """The way from the peer to the receiving end."""
        addresses = (ADDRESS[family], self.link.rx.address(family))
        return Path(family, (MAC, self.mac), addresses, ports)

    def put(self, *frames: Any, offload: bytes = _NO_OFFLOAD) -> None:
        """Send these frames: bytes, or packets of scapy.

        All from one CPU: where a veth has no NAPI, frames from several may overtake each other.
        """
        with on_cpu(allowed()[0]):
            for frame in frames:
                self.sock.send(offload + bytes(frame))

    def collect(self) -> list[bytes]:
        """The frames that have come since the last call."""
        frames = []
        with contextlib.suppress(BlockingIOError):
            while True:
                frames.append(self.sock.recv(1 << 16)[len(_NO_OFFLOAD) :])
        return frames

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()


class Peer(Connection):
    """A connection whose sending end does just what it is told: no timer, no retransmission.

    `rx` is the socket under test, `sent` how far next() has come. Stream offsets are used
    throughout; byte 0 has the sequence number `first`.
    """

    def __init__(
        self,
        link: Link,
        pattern: Pattern,
        family: int = 4,
        *,
        mss: int = 1400,
        rcvbuf: int | None = None,
        first: int = 0x5A5A0001,
        timed: bool = False,
        shaken: bool = True,
    ) -> None:
        """timed: with timestamps. shaken False: dial(), answer_syn() and accept() are yet to come.

        Until accept() `rx` is the listening socket.
        """
        self.family, self.mss, self.first, self.timed = family, mss, first, timed
        self.wire = Wire(link)
        self._listener = link.rx.ns.socket(
            socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_STREAM
        )
        try:
            if rcvbuf is not None:
                self._listener.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, rcvbuf)
            self._listener.bind((link.rx.address(family), 0))
            self._listener.listen(1)
            ports = (next(_ports), self._listener.getsockname()[1])
            self.path = self.wire.path(family, ports)
            super().__init__(self.wire.sock, self._listener, pattern)
            self._clock, self._echo = 1000, 0
            self.replies: list[Segment] = []  # all that the receiving end has sent
            self.others: list[bytes] = []  # frames that are no TCP of this connection
            self.acked, self.window, self._shift, self._theirs = 0, 0, 0, 0
            if shaken:
                self.dial()
                self.answer_syn()
                self.accept()
        except BaseException:
            self._close_sockets()
            raise

    # -- handshake ---------------------------------------------------------------------------

    def dial(self, payload: bytes = b"") -> None:
        """Send SYN."""
        options = maximum_segment(self.mss) + SACK_PERMITTED + window_scale(0)
        if self.timed:
            options += timestamps(self._clock, 0)
        self.put(self.data(-1, payload, Flag.SYN, options=options))

    def answer_syn(self, payload: int = 0) -> None:
        """Wait for SYN-ACK, and send an ACK with so many bytes of the stream."""

        def answer() -> Segment | None:
            self.collect()
            return next((reply for reply in self.replies if reply.flags & Flag.SYN), None)

        syn = wait_until(answer, "no SYN-ACK from the receiving end", 5)
        assert syn is not None
        self._theirs, self._shift = syn.seq + 1, syn.shift
        self.put(self.next(payload))

    def accept(self) -> None:
        """Take the connection from the listening socket."""
        self._listener.settimeout(30)
        self.rx, _ = self._listener.accept()
        self._listener.close()

    # -- frames ------------------------------------------------------------------------------

    def clock(self) -> bytes:
        """The timestamp option, if that has been agreed on."""
        self._clock += 1
        return timestamps(self._clock, self._echo) if self.timed else b""

    def bytes_at(self, at: int, length: int) -> bytes:
        """These bytes of the stream."""
        return bytes(self.sent.pattern.slice(at, length))

    def garbage(self, at: int, length: int) -> bytes:
        """As many bytes, each of which differs from the stream's: they must not be delivered."""
        return self.bytes_at(at, length).translate(_INVERTED)

    def data(
        self,
        at: int,
        payload: "int | bytes" = 0,
        flags: Flag = Flag.ACK,
        *,
        ack: int = 0,
        options: bytes | None = None,
        **header: Any,
    ) -> bytes:
        """The frame of a segment at that offset: so many bytes of the stream, or these.

        ack: bytes acknowledged of those that the receiving end never sent. header: as in tcp()
        of Path.
        """
        if isinstance(payload, int):
            payload = self.bytes_at(at, payload)
        options = self.clock() if options is None else options
        segment = self.path.tcp(
            self.first + at, self._theirs + ack, flags, payload, options=options, **header
        )
        return self.path.ethernet(self.path.ip(segment))

    def next(self, length: int, **header: Any) -> bytes:
        """The frame of the next bytes in the stream."""
        self.sent.offset += length
        return self.data(self.sent.offset - length, length, **header)

    # -- the same for scapy, layer by layer ----------------------------------------------------

    def ether(self, **fields: Any) -> Any:
        """An Ethernet header."""
        from scapy.layers.l2 import Ether

        return Ether(**{"src": self.path.macs[0], "dst": self.path.macs[1]} | fields)

    def ip(self, **fields: Any) -> Any:
        """An IP header."""
        from scapy.layers.inet import IP
        from scapy.layers.inet6 import IPv6

        addresses = {"src": self.path.addresses[0], "dst": self.path.addresses[1]}
        return (IP if self.family == 4 else IPv6)(**addresses | fields)

    def tcp(self, at: int, payload: "int | bytes" = 0, **fields: Any) -> Any:
        """A TCP header at that offset, and so many bytes of the stream, or these."""
        from scapy.layers.inet import TCP

        sport, dport = self.path.ports
        header: dict[str, Any] = {"sport": sport, "dport": dport, "flags": "A", "window": 0xFFFF}
        header["seq"] = (self.first + at) & 0xFFFFFFFF
        header["ack"] = self._theirs & 0xFFFFFFFF
        body = self.bytes_at(at, payload) if isinstance(payload, int) else payload
        return TCP(**header | fields) / body

    # -- sending, and what comes back ----------------------------------------------------------

    def put(self, *frames: Any, offload: bytes = _NO_OFFLOAD) -> None:
        """Send these frames."""
        self.wire.put(*frames, offload=offload)

    def feed(self, length: int) -> int:
        """Send the next `length` bytes, in segments; whatever the window says."""
        end = self.sent.offset + length
        while self.sent.offset < end:
            self.put(self.next(min(self.mss, end - self.sent.offset)))
        return length

    def collect(self) -> list[Segment]:
        """Look at what has come: the segments of this connection since the last call."""
        news = []
        for frame in self.wire.collect():
            reply = parse(frame)
            if reply is None or reply.ports != self.path.ports[::-1]:
                self.others.append(frame)
                continue
            news.append(reply)
            if reply.flags & Flag.ACK and not reply.flags & Flag.SYN:
                ahead = (reply.ack - self.first - self.acked) & 0xFFFFFFFF
                self.acked += ahead if ahead < 1 << 31 else 0
                self.window = reply.window << self._shift
            if 8 in reply.options:
                self._echo = int.from_bytes(reply.options[8][:4])
        self.replies += news
        return news

    def wait_acked(self, offset: int) -> None:
        """Wait until everything before that offset has been acknowledged."""

        def done() -> bool:
            self.collect()
            return self.acked >= offset

        wait_until(done, lambda: f"acknowledged: {self.acked} of {offset} bytes", 5)

    def probe(self) -> None:
        """Have the receiving end answer, by a keep-alive: a byte from before its window.

        Frames are processed in order: all that was sent before has been when the answer comes.
        """
        old = ((self.first - 1) & 0xFFFFFFFF, self.first & 0xFFFFFFFF)

        def answered() -> bool:
            return any(reply.blocks[:1] == [old] for reply in self.collect())  # D-SACK, RFC 2883

        self.collect()
        self.put(self.data(-1, b"\x5a"))
        wait_until(answered, "no answer to a keep-alive", 5)

    # -- end -----------------------------------------------------------------------------------

    def finish(self) -> None:
        """Send FIN behind what was sent."""
        self.put(self.data(self.sent.offset, flags=Flag.FIN | Flag.ACK))

    def reset(self) -> None:
        """Send RST behind what was sent."""
        self.put(self.data(self.sent.offset, flags=Flag.RST | Flag.ACK))

    def close(self) -> None:
        """Close both ends. The receiving one goes with RST, and so at once."""
        if self.rx is not self._listener and self.rx.fileno() >= 0:
            linger = struct.pack("ii", 1, 0)
            self.rx.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.rx.close()
        self._close_sockets()

    def _close_sockets(self) -> None:
        self._listener.close()
        self.wire.close()
