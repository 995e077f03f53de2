# SPDX-License-Identifier: GPL-2.0
"""Pieces of a received stream, and a tally of them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple


class Chunk(NamedTuple):
    """Bytes of the stream where the kernel put them.

    data: a view, no copy. zero_copy: they lie in the region, and bid is the page; otherwise they
    were copied into copy buffer `bid`. offset: from the start of that page or buffer.
    """

    data: memoryview
    zero_copy: bool
    bid: int
    offset: int


@dataclass
class Tally:
    """How much came, and which way."""

    zero_copy: int = 0
    copied: int = 0
    pieces: int = 0
    pages: set[int] = field(default_factory=set)

    def add(self, chunks: Iterable[Chunk]) -> None:
        """Count these."""
        for chunk in chunks:
            self.pieces += 1
            if chunk.zero_copy:
                self.zero_copy += len(chunk.data)
                self.pages.add(chunk.bid)
            else:
                self.copied += len(chunk.data)

    @property
    def total(self) -> int:
        """Bytes in all."""
        return self.zero_copy + self.copied
