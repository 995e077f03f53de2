# SPDX-License-Identifier: GPL-2.0
"""A byte pattern that knows its own stream offset.

The stream is a row of 8-byte little-endian words: four bytes of word number, four bytes of seed.
The seed's bytes all have their high bit set and the number's top byte is always 0, so a seed can
be found at any alignment, and four stray bytes are enough to say which part of the stream they
are. Streams of one seed start at different words of the same row: bytes that leak from one into
another do not fit either, and the row is generated only once in a process.
"""

import ctypes
import itertools
import random
from array import array
from functools import lru_cache

from lib.uring.memory import Memory, address_of

WORD = 8
ROW_BYTES = 64 << 20  # 2**23 words: the top byte of a 32-bit word number stays 0
_STEP = 1 << 16

_memcmp = ctypes.CDLL(None)["memcmp"]
_memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class PatternError(AssertionError):
    """The bytes are not those of the stream at that offset."""


class _Row:
    """The words of one seed, generated on demand into memory that never moves."""

    def __init__(self, seed: int) -> None:
        self.tag = random.Random(seed).getrandbits(32) | 0x80808080
        self.tag_bytes = self.tag.to_bytes(4, "little")
        self._memory = Memory(ROW_BYTES)  # touched only as far as it is used
        self.view, self.addr, self._made = self._memory.view, self._memory.addr, 0

    def extend(self, end: int) -> None:
        """Generate the row up to byte `end` at least."""
        while self._made < end:
            first = self._made // WORD + (self.tag << 32)
            words = array("Q", range(first, first + _STEP // WORD))
            self.view[self._made : self._made + _STEP] = memoryview(words).cast("B")
            self._made += _STEP


@lru_cache(maxsize=4)
def _row(seed: int) -> _Row:
    return _Row(seed)


class Pattern:
    """The bytes of one stream. `start` is the word of the seed's row it begins with."""

    def __init__(self, seed: int, start: int = 0) -> None:
        self._row, self._base = _row(seed), start * WORD
        self.start, self.tag = start, self._row.tag  # what the stream is made of

    def slice(self, offset: int, length: int) -> memoryview:
        """`length` bytes from stream offset `offset`; a view, not a copy.

        Raises ValueError beyond the row: a stream may have 64 MiB less its start.
        """
        begin = self._base + offset
        if begin + length > ROW_BYTES:
            raise ValueError(f"the pattern has {ROW_BYTES - self._base} bytes")
        self._row.extend(begin + length)
        return self._row.view[begin : begin + length]

    def check(self, offset: int, data: "bytes | bytearray | memoryview") -> None:
        """Raise PatternError unless `data` is the stream at `offset`. Reads, never copies."""
        length = len(data)
        self.slice(offset, length)
        if length and _memcmp(address_of(data), self._row.addr + self._base + offset, length):
            raise PatternError(self._difference(offset, bytes(data)))

    def _difference(self, offset: int, data: bytes) -> str:
        expected = bytes(self.slice(offset, len(data)))
        pairs = enumerate(zip(data, expected, strict=True))
        at = next(index for index, (seen, wanted) in pairs if seen != wanted)
        found = self.locate(data[at:])
        what = "no byte of any stream of this run" if found is None else f"stream offset {found}"
        return (
            f"wrong from stream offset {offset + at} on ({at} bytes into a piece of {len(data)}):"
            f" expected {expected[at : at + 16].hex(' ', 4)},"
            f" found {data[at : at + 16].hex(' ', 4)}, which is {what}"
        )

    def locate(self, data: bytes) -> int | None:
        """Stream offset that `data` begins with, judged by the first whole word number in it.

        Negative, or beyond what was sent: the bytes are another stream's. None: no such word.
        """
        tag = data.find(self._row.tag_bytes, 4)
        if tag < 0:
            return None
        word = int.from_bytes(data[tag - 4 : tag], "little")
        return word * WORD - (tag - 4) - self._base


class Stream:
    """A pattern and how far into it a sender or a checker has come."""

    def __init__(self, pattern: Pattern) -> None:
        self.pattern, self.offset = pattern, 0

    def take(self, length: int) -> memoryview:
        """The next `length` bytes, and move on."""
        self.offset += length
        return self.pattern.slice(self.offset - length, length)

    def check(self, data: "bytes | bytearray | memoryview") -> None:
        """Raise PatternError unless `data` comes next; move on."""
        self.pattern.check(self.offset, data)
        self.offset += len(data)


_serial = itertools.count()


def fresh_pattern(seed: int) -> Pattern:
    """A pattern of that seed that begins at another word than the last 4,095 did."""
    return Pattern(seed, next(_serial) * 1021 % 4096)
