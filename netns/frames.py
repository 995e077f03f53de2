# SPDX-License-Identifier: GPL-2.0
"""Ethernet frames with TCP in them, made byte by byte, and those of a receiver taken apart.

The plain ones, of which tests need many: one takes scapy 20 ms in an emulated guest. Numbers and
layouts: RFC 791 (IPv4), RFC 8200 (IPv6), RFC 9293 (TCP), RFC 7323 and RFC 2018 (its options).
"""

import struct
from dataclasses import dataclass
from enum import IntFlag
from ipaddress import ip_address
from typing import NamedTuple

ETH_HEADER, IP_HEADER, TCP_HEADER = 14, {4: 20, 6: 40}, 20
IPPROTO_TCP = 6
ETHERTYPE = {4: 0x0800, 6: 0x86DD}
_TTL = 64


class Flag(IntFlag):
    """Flags of a TCP header."""

    FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32


def checksum(*parts: "bytes | memoryview") -> int:
    """The Internet checksum (RFC 1071); every part but the last has an even length."""
    # The sum of 16-bit words in ones' complement is the number they make, modulo 65535.
    total = sum(int.from_bytes(bytes(part) + bytes(len(part) % 2)) for part in parts)
    return (0xFFFF - total % 0xFFFF) & 0xFFFF


@dataclass(frozen=True)
class Path:
    """From whom to whom: IP version, MAC and IP addresses and ports, the sender's first."""

    family: int
    macs: tuple[str, str]
    addresses: tuple[str, str]
    ports: tuple[int, int] = (0, 0)

    @property
    def packed(self) -> bytes:
        """Both IP addresses, as they stand in a header."""
        return b"".join(ip_address(address).packed for address in self.addresses)

    def ethernet(self, packet: bytes, ethertype: int = 0) -> bytes:
        """A frame; of the path's IP version, or of another type."""
        source, destination = (bytes.fromhex(mac.replace(":", "")) for mac in self.macs)
        header = destination + source + struct.pack(">H", ethertype or ETHERTYPE[self.family])
        return header + packet

    def ip(self, body: bytes, protocol: int = IPPROTO_TCP) -> bytes:
        """A packet without options or extension headers."""
        if self.family == 6:
            return struct.pack(">IHBB", 6 << 28, len(body), protocol, _TTL) + self.packed + body
        size = IP_HEADER[4] + len(body)
        start = struct.pack(">BBHHHBB", 0x45, 0, size, 0, 0x4000, _TTL, protocol)
        check = checksum(start, self.packed)
        return start + struct.pack(">H", check) + self.packed + body

    def pseudo(self, length: int, protocol: int = IPPROTO_TCP) -> bytes:
        """The pseudo-header that a transport's checksum covers."""
        if self.family == 6:
            return self.packed + struct.pack(">II", length, protocol)
        return self.packed + struct.pack(">HH", protocol, length)

    def tcp(
        self,
        seq: int,
        ack: int,
        flags: Flag,
        payload: "bytes | memoryview" = b"",
        *,
        options: bytes = b"",
        window: int = 0xFFFF,
        urgent: int = 0,
        summed: bool = True,
    ) -> bytes:
        """A segment. summed False: the checksum is the pseudo-header's, the device adds the rest
        (CHECKSUM_PARTIAL)."""
        size = TCP_HEADER + len(options)
        start = struct.pack(
            ">HHIIBBH",
            *self.ports,
            seq & 0xFFFFFFFF,
            ack & 0xFFFFFFFF,
            size // 4 << 4,
            flags,
            window,
        )
        end = struct.pack(">H", urgent) + options
        pseudo = self.pseudo(size + len(payload))
        check = checksum(pseudo, start, end, payload) if summed else 0xFFFF - checksum(pseudo)
        return b"".join((start, struct.pack(">H", check), end, payload))


# -- TCP options, each padded to a multiple of four -----------------------------------------


def maximum_segment(size: int) -> bytes:
    """The option that says how much payload the sender takes in a segment."""
    return struct.pack(">BBH", 2, 4, size)


def window_scale(shift: int) -> bytes:
    """The option that says how far the sender's windows are shifted."""
    return struct.pack(">BBBB", 1, 3, 3, shift)


SACK_PERMITTED = b"\1\1\4\2"


def timestamps(value: int, echo: int) -> bytes:
    """The sender's clock, and the last that he saw of the other's."""
    return struct.pack(">BBBBII", 1, 1, 8, 10, value, echo)


def sack(*blocks: tuple[int, int]) -> bytes:
    """Selective acknowledgements, from a sequence number up to, not including, another."""
    numbers = [number & 0xFFFFFFFF for block in blocks for number in block]
    return struct.pack(f">BBBB{len(numbers)}I", 1, 1, 5, 2 + 4 * len(numbers), *numbers)


# -- taken apart -----------------------------------------------------------------------------


class Segment(NamedTuple):
    """A TCP segment that was received. options: kind -> its bytes."""

    ports: tuple[int, int]
    seq: int
    ack: int
    flags: Flag
    window: int
    options: dict[int, bytes]
    payload: bytes

    @property
    def blocks(self) -> list[tuple[int, int]]:
        """Its selective acknowledgements."""
        data = self.options.get(5, b"")
        return list(struct.iter_unpack(">II", data))

    @property
    def shift(self) -> int:
        """How far its sender's windows are shifted; 0 without the option."""
        return self.options.get(3, b"\0")[0]


def _options(data: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at < len(data) and data[at] != 0:
        if data[at] == 1:
            at += 1
            continue
        found[data[at]] = data[at + 2 : at + data[at + 1]]
        at += data[at + 1]
    return found


def parse(frame: bytes) -> Segment | None:
    """The segment in a frame without VLAN tag or extension headers; None: no TCP."""
    (ethertype,) = struct.unpack_from(">H", frame, 12)
    packet = frame[ETH_HEADER:]
    if ethertype == ETHERTYPE[4] and packet[9] == IPPROTO_TCP:
        (end,) = struct.unpack_from(">H", packet, 2)
        body = packet[(packet[0] & 15) * 4 : end]
    elif ethertype == ETHERTYPE[6] and packet[6] == IPPROTO_TCP:
        (size,) = struct.unpack_from(">H", packet, 4)
        body = packet[IP_HEADER[6] : IP_HEADER[6] + size]
    else:
        return None
    sport, dport, seq, ack, size, flags, window = struct.unpack_from(">HHIIBBH", body)
    header = (size >> 4) * 4
    options = _options(body[TCP_HEADER:header])
    return Segment((sport, dport), seq, ack, Flag(flags & 63), window, options, body[header:])
