# SPDX-License-Identifier: GPL-2.0
"""The memory that payload lands in."""

import mmap
from collections import Counter

from lib.uring import PAGE, Memory, Ring


class Region:
    """`pages` pages of memory, and which of them the user holds.

    flags: mmap(2)'s, for memory that is to be shared with child processes (MAP_SHARED).
    memory: someone's, who keeps it, instead of new and zeroed memory; the region is a part of it,
    from page `first` on. Several regions may lie in one memory.
    held: page -> references of the user: pieces reported to him and not yet given back. Whoever
    reports and takes back keeps it up to date.
    """

    def __init__(
        self,
        pages: int,
        flags: int = mmap.MAP_PRIVATE,
        *,
        memory: Memory | None = None,
        first: int = 0,
    ) -> None:
        self.pages, self.size = pages, pages * PAGE
        self._own = memory is None
        self.memory = memory or Memory(self.size, flags)
        self._begin = first * PAGE
        if self._begin + self.size > self.memory.size:
            raise ValueError(f"{pages} pages from page {first} on: beyond the memory")
        self.addr = self.memory.addr + self._begin
        self.held: Counter[int] = Counter()
        self.index = 0  # of the fixed buffer, once registered

    def register(self, ring: Ring, index: int = 0) -> None:
        """Pin the memory as fixed buffer `index` of the ring; OSError as io_uring_register()."""
        ring.set_buffer(index, self.addr, self.size)
        self.index = index

    def page_addr(self, page: int) -> int:
        """User address of a page."""
        return self.addr + page * PAGE

    def piece(self, page: int, offset: int, length: int) -> memoryview:
        """A view, no copy, of bytes of one page. Raises IndexError if they are not in it."""
        if not (0 <= page < self.pages and offset >= 0 and offset + length <= PAGE):
            raise IndexError(
                f"{length} bytes at offset {offset} of page {page}: not inside a page of"
                f" {PAGE} bytes, or not one of {self.pages} pages"
            )
        begin = self._begin + page * PAGE + offset
        return self.memory.view[begin : begin + length]

    def close(self) -> None:
        """Let go of the memory, if it is our own; the kernel may still have it pinned."""
        if self._own:
            self.memory.close()

    def __enter__(self) -> "Region":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
