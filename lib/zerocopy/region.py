# SPDX-License-Identifier: GPL-2.0
"""The memory that payload lands in."""

import mmap
from collections import Counter

from lib.uring import PAGE, Memory, Ring


class Region:
    """`pages` pages of zeroed memory, and which of them the user holds.

    flags: mmap(2)'s, for memory that is to be shared with child processes (MAP_SHARED).
    held: page -> references of the user: pieces reported to him and not yet given back. Whoever
    reports and takes back keeps it up to date.
    """

    def __init__(self, pages: int, flags: int = mmap.MAP_PRIVATE) -> None:
        self.pages = pages
        self.memory = Memory(pages * PAGE, flags)
        self.addr, self.size = self.memory.addr, self.memory.size
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
        begin = page * PAGE + offset
        return self.memory.view[begin : begin + length]

    def close(self) -> None:
        """Let go of the memory; the kernel may still have it pinned."""
        self.memory.close()

    def __enter__(self) -> "Region":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
