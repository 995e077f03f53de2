# SPDX-License-Identifier: GPL-2.0
"""Metadata buffers that the kernel picks from a group, and the books about them."""

from collections import deque

from lib.uring import PAGE, BufferPool, Cqe, Memory, Ring, op
from lib.zctap.receiver import ContractError


class _Books:
    """The buffers that the kernel has, in the order in which it got them."""

    def __init__(self) -> None:
        self.lent: deque[int] = deque()

    def used(self, cqe: Cqe) -> int | None:
        """The buffer that the completion used up, None if it says that it used none.

        Raises ContractError if the kernel has no such buffer, if it is not the next one, or if
        there are iovs and no buffer that they could be in (RECV-30).
        """
        bid = cqe.buffer_id
        if bid is None:
            if cqe.res > 0:
                raise ContractError(f"{cqe}: iovs, and no F_BUFFER to say where")
            return None
        if not self.lent or bid != self.lent[0]:
            raise ContractError(f"{cqe}: buffer {bid} used, the kernel has {list(self.lent)}")
        return self.lent.popleft()


class MetadataRing(BufferPool):
    """A ring-mapped group of metadata buffers."""

    def __init__(
        self, ring: Ring, bgid: int, count: int, size: int = PAGE, *, fill: bool = True
    ) -> None:
        self.books = _Books()
        super().__init__(ring, bgid, count, size, fill=fill)

    def give(self, *bids: int) -> None:
        """Provide these buffers to the kernel."""
        self.books.lent.extend(bids)
        super().give(*bids)

    def used(self, cqe: Cqe) -> memoryview | None:
        """The buffer that the completion used up, None if it used none."""
        bid = self.books.used(cqe)
        return None if bid is None else self.buffer(bid)


class MetadataGroup:
    """The same as a classic group (IORING_OP_PROVIDE_BUFFERS)."""

    def __init__(self, ring: Ring, bgid: int, count: int, size: int = PAGE) -> None:
        self.ring, self.bgid, self.count, self.size = ring, bgid, count, size
        self.books = _Books()
        self.memory = Memory(count * size)
        ring.on_close(self.memory.close)
        self.give(*range(count))

    def give(self, *bids: int) -> None:
        """Provide these buffers to the kernel. Raises OSError."""
        for bid in bids:
            addr = self.memory.addr + bid * self.size
            error = self.ring.run(op.provide_buffers(addr, self.size, 1, self.bgid, bid)).error
            if error:
                raise OSError(error, "PROVIDE_BUFFERS")
            self.books.lent.append(bid)

    def used(self, cqe: Cqe) -> memoryview | None:
        """The buffer that the completion used up, None if it used none."""
        bid = self.books.used(cqe)
        return None if bid is None else self.memory.view[bid * self.size :][: self.size]
