# SPDX-License-Identifier: GPL-2.0
"""The two provided-buffer rings: pages go back through one, copies come through the other."""

import struct
from collections import Counter, deque
from collections.abc import Iterable, Sequence

from lib.uring import PAGE, BufferPool, BufferRing, Memory, Ring
from lib.uring.abi import BUF_SIZE
from lib.zerocopy import Region


class FillRing(BufferRing):
    """Gives pages of the region back to the kernel: an entry's `addr` is the page's address.

    One entry drops one user reference, so there is one for each piece that was reported. The
    kernel takes entries only when its freelist is empty (FILL-2), and does not say how many: the
    default size is room for four pieces of each page. `given` remembers the last pages, newest
    last: those that can still lie untaken.
    """

    def __init__(
        self,
        ring: Ring,
        bgid: int,
        region: Region,
        entries: int = 0,
        *,
        memory: Memory | None = None,
    ) -> None:
        size = entries or 1 << (4 * region.pages - 1).bit_length()
        super().__init__(ring, bgid, min(size, 1 << 15), memory=memory)
        self.region = region
        self.given: deque[int] = deque(maxlen=self.entries)

    def put(self, page: int, *, offset: int = 0, length: int = PAGE, bid: int = 0) -> None:
        """Give back one reference of a page, after the next publish(); the rest is not trusted."""
        self.add(self.region.page_addr(page) + offset, length, bid)
        self.given.append(page)
        self.region.held[page] -= 1

    def give(self, pages: Iterable[int]) -> None:
        """Give back one reference for each page named (a page may be named more than once)."""
        for page in pages:
            self.put(page)
        self.publish()

    def prepared(self) -> list[bytes]:
        """The entries that give back the pages of the region, by number, for recycle()."""
        addresses = map(self.region.page_addr, range(self.region.pages))
        return [self.entry(addr, PAGE, 0) for addr in addresses]

    def recycle(self, pages: Sequence[int], entries: bytes) -> None:
        """Give back one reference for each page named, which Region.held does not know of.

        The entries are those of prepared(), in this order.
        """
        self.extend(entries)
        self.given.extend(pages)
        self.publish()

    def jump(self, count: int) -> None:
        """Let the tail jump, as only a broken application does: what lies there are entries.

        In a ring that is new they are all zero, which is no page's address.
        """
        self._tail = (self._tail + count) & 0xFFFF
        self.publish()

    def scrawl(self, at: int, addr: int) -> None:
        """Overwrite the address of an entry, as only a broken application does, taken or not."""
        struct.pack_into("<Q", self._memory.view, at % self.entries * BUF_SIZE, addr)

    def untaken(self, references: Counter[int]) -> bool:
        """Whether these user references are just what the newest entries would drop.

        The kernel takes entries in order, so those it has not taken are the last ones given.
        """
        count = references.total()
        newest = list(self.given)[len(self.given) - count :] if count else []
        return count <= len(self.given) and Counter(newest) == references


class CopyRing(BufferPool):
    """Buffers for payload that is not in the region.

    In one call several iovs may share a buffer (RECV-20); it goes back with the last of them.
    """

    def __init__(
        self, ring: Ring, bgid: int, count: int = 16, size: int = PAGE, *, fill: bool = True
    ) -> None:
        super().__init__(ring, bgid, count, size, fill=fill)
        self.held: Counter[int] = Counter()

    def hold(self, bid: int) -> None:
        """A piece in that buffer has been reported."""
        self.held[bid] += 1

    def release(self, bid: int) -> None:
        """That piece is done with; gives the buffer back after the last one."""
        self.held[bid] -= 1
        if not self.held[bid]:
            del self.held[bid]
            self.give(bid)
