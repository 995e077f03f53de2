# SPDX-License-Identifier: GPL-2.0
"""Frames made by hand against scapy's, and segments taken apart."""

from typing import Any

import pytest

from netns.frames import (
    SACK_PERMITTED,
    Flag,
    Path,
    checksum,
    maximum_segment,
    parse,
    sack,
    timestamps,
    window_scale,
)

scapy_inet = pytest.importorskip("scapy.layers.inet")
scapy_inet6 = pytest.importorskip("scapy.layers.inet6")
scapy_l2 = pytest.importorskip("scapy.layers.l2")

PATHS = {
    4: Path(4, ("02:00:00:00:00:01", "02:00:00:00:00:02"), ("198.18.0.9", "198.18.0.2"), (7, 8)),
    6: Path(6, ("02:00:00:00:00:01", "02:00:00:00:00:02"), ("fd5a::9", "fd5a::2"), (7, 8)),
}


def by_scapy(path: Path, **tcp: object) -> Any:
    ip = scapy_inet.IP if path.family == 4 else scapy_inet6.IPv6
    fields: dict[str, object] = {"id": 0, "flags": "DF"} if path.family == 4 else {}
    source, destination = path.addresses
    return (
        scapy_l2.Ether(src=path.macs[0], dst=path.macs[1])
        / ip(src=source, dst=destination, **fields)
        / scapy_inet.TCP(sport=7, dport=8, **tcp)
    )


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("payload", [b"", b"odd", b"even" * 300, b"\xff" * 1400])
def test_frames_are_scapys(family: int, payload: bytes) -> None:
    path = PATHS[family]
    ours = path.tcp(5, 6, Flag.ACK | Flag.PSH, payload, options=timestamps(1, 2), window=3)
    options = [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]
    theirs = by_scapy(path, seq=5, ack=6, flags="PA", window=3, options=options) / payload
    assert path.ethernet(path.ip(ours)) == bytes(theirs)


@pytest.mark.parametrize("family", [4, 6])
def test_segments_are_taken_apart(family: int) -> None:
    path = PATHS[family]
    options = maximum_segment(1460) + SACK_PERMITTED + window_scale(7) + sack((1, 2), (3, 2**32))
    segment = path.tcp(2**32 + 9, 6, Flag.SYN | Flag.ACK, b"data", options=options)
    parsed = parse(path.ethernet(path.ip(segment)) + b"padding")
    assert parsed is not None
    assert (parsed.ports, parsed.seq, parsed.ack) == ((7, 8), 9, 6)
    assert (parsed.flags, parsed.payload) == (Flag.SYN | Flag.ACK, b"data")
    assert (parsed.blocks, parsed.shift) == ([(1, 2), (3, 0)], 7)
    assert set(parsed.options) == {2, 3, 4, 5}


def test_other_frames_are_no_segments() -> None:
    path = PATHS[4]
    assert parse(path.ethernet(path.ip(b"datagram", 17))) is None
    assert parse(path.ethernet(b"arp", 0x0806)) is None


def test_segment_without_options() -> None:
    path = PATHS[6]
    parsed = parse(path.ethernet(path.ip(path.tcp(1, 2, Flag.RST))))
    assert parsed is not None
    assert (parsed.blocks, parsed.shift, parsed.payload) == ([], 0, b"")


@pytest.mark.parametrize("payload", [b"", b"odd", b"\xff\xff"])
def test_unfinished_checksum_is_the_pseudo_headers(payload: bytes) -> None:
    path = PATHS[4]
    segment = path.tcp(1, 2, Flag.ACK, payload, summed=False)
    pseudo = path.pseudo(len(segment))
    assert int.from_bytes(segment[16:18]) == 0xFFFF - checksum(pseudo)
