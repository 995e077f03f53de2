# SPDX-License-Identifier: GPL-2.0
"""The pattern that knows its own offset."""

import random

import pytest

from lib.pattern import ROW_BYTES, Pattern, PatternError, Stream, fresh_pattern


def test_same_seed_same_bytes() -> None:
    assert bytes(Pattern(1).slice(0, 999)) == bytes(Pattern(1).slice(0, 999))
    assert bytes(Pattern(1).slice(0, 999)) != bytes(Pattern(2).slice(0, 999))


def test_slices_fit_together() -> None:
    pattern = Pattern(1)
    assert bytes(pattern.slice(3, 70_000)) == bytes(pattern.slice(0, 70_003))[3:]


@pytest.mark.parametrize("size", [0, 1, 7, 8, 65_536, 65_537])
def test_right_bytes_pass(size: int) -> None:
    pattern = Pattern(1, 5)
    for kind in (bytes, bytearray):
        pattern.check(12_345, kind(pattern.slice(12_345, size)))


@pytest.mark.parametrize("at", [0, 1, 499, 999])
def test_a_single_wrong_bit_is_found(at: int) -> None:
    pattern = Pattern(1)
    data = bytearray(pattern.slice(100, 1000))
    data[at] ^= 0x10
    with pytest.raises(PatternError, match=f"stream offset {100 + at} on"):
        pattern.check(100, data)


def test_message_says_what_was_found() -> None:
    pattern = Pattern(1)
    data = bytearray(pattern.slice(0, 4096))
    data[1000:] = pattern.slice(9001, 3096)
    with pytest.raises(PatternError, match=r"which is stream offset 9001$"):
        pattern.check(0, data)
    with pytest.raises(PatternError, match="no byte of any stream"):
        pattern.check(0, bytes(100))


def test_any_shift_is_located() -> None:
    pattern, choose = Pattern(7, 40), random.Random(7)
    for _ in range(200):
        offset = choose.randrange(100_000)
        assert pattern.locate(bytes(pattern.slice(offset, 24))) == offset


def test_streams_of_a_run_differ() -> None:
    streams = [fresh_pattern(3) for _ in range(100)]
    assert len({bytes(stream.slice(0, 8)) for stream in streams}) == 100


def test_end_of_the_row() -> None:
    pattern = Pattern(1)
    with pytest.raises(ValueError, match="pattern has"):
        pattern.slice(ROW_BYTES, 1)


def test_stream_moves_on() -> None:
    sender, checker = Stream(Pattern(1)), Stream(Pattern(1))
    for size in (1, 100, 3):
        checker.check(bytes(sender.take(size)))
    assert sender.offset == checker.offset == 104
