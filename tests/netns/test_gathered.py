# SPDX-License-Identifier: GPL-2.0
"""A stream put together from captured frames."""

import struct

import pytest

from lib.pattern import Pattern, PatternError
from netns.packet import Gathered

PORT, FIRST = 4242, 0xFFFFFF00  # the sequence number wraps early on


def frame(payload: bytes, offset: int, port: int = PORT, padding: int = 0) -> bytes:
    tcp = struct.pack(
        "!HHIIBBHHH", 1, port, FIRST + offset & 0xFFFFFFFF, 0, 8 << 4, 0x10, 0, 0, 0
    ) + bytes(12)
    ip = struct.pack("!BBHIBBH8x", 0x45, 0, 52 + len(payload), 0, 64, 6, 0)
    return bytes(12) + b"\x08\x00" + ip + tcp + payload + bytes(padding)


def test_in_any_order_and_twice() -> None:
    pattern = Pattern(1)
    seen = Gathered(pattern, PORT)
    for offset, length in ((0, 100), (600, 400), (0, 100), (100, 500)):
        assert seen.length in (0, 100)
        seen.add(frame(bytes(pattern.slice(offset, length)), offset))
    assert seen.length == 1000


def test_what_is_not_payload_of_the_stream() -> None:
    pattern = Pattern(1)
    seen = Gathered(pattern, PORT)
    seen.add(frame(b"other", 0, port=1))
    seen.add(frame(b"", 0, padding=6))
    seen.add(bytes(12) + b"\x86\xdd" + bytes(60))
    assert seen.length == 0
    seen.add(frame(bytes(pattern.slice(0, 2)), 0, padding=4))
    assert seen.length == 2


def test_wrong_bytes() -> None:
    with pytest.raises(PatternError):
        Gathered(Pattern(1), PORT).add(frame(b"nothing of the pattern", 0))
