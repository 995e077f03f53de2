# SPDX-License-Identifier: GPL-2.0
"""Provided-buffer rings (IORING_REGISTER_PBUF_RING, Linux 5.19 and later)."""

from lib.uring.abi import BUF, BUF_SIZE, BUF_TAIL_OFFSET, BufReg, Register
from lib.uring.memory import PAGE, Memory
from lib.uring.ring import Ring


class BufferRing:
    """A ring of buffer entries shared with the kernel, registered as group `bgid`.

    `entries` is a power of two up to 32,768. Entries are put down with add() and shown to the
    kernel together by publish(); what an entry's address means is the group's business. The
    kernel's own position is not visible from here: the owner must not add more than `entries`
    that may lie untaken. Raises OSError (EINVAL, EEXIST for a group that exists).

    memory: where the entries lie; it is closed with the ring.
    """

    def __init__(
        self, ring: Ring, bgid: int, entries: int, *, memory: Memory | None = None
    ) -> None:
        self.ring, self.bgid, self.entries = ring, bgid, entries
        self._memory = memory or Memory(entries * BUF_SIZE)
        self._shown = self._memory.view.cast("H")
        self._tail, self._registered = 0, False
        reg = BufReg(ring_addr=self._memory.addr, ring_entries=entries, bgid=bgid)
        try:
            ring.register(Register.PBUF_RING, reg, 1)
        except OSError:
            self._free()
            raise
        self._registered = True
        ring.on_close(self._free)

    @property
    def ring_address(self) -> int:
        """Where its entries lie."""
        return self._memory.addr

    def add(self, addr: int, length: int, bid: int) -> None:
        """Put an entry behind the last one; the kernel sees it after publish()."""
        at = (self._tail & (self.entries - 1)) * BUF_SIZE
        BUF.pack_into(self._memory.view, at, addr, length, bid)
        self._tail = (self._tail + 1) & 0xFFFF

    def extend(self, entries: bytes) -> None:
        """Put prepared entries behind the last one, each as entry() makes it, as add() does."""
        view, size, begin = self._memory.view, self.entries * BUF_SIZE, 0
        while begin < len(entries):
            at = (self._tail & (self.entries - 1)) * BUF_SIZE
            # Entry 0 comes alone: its last two bytes are the tail that the kernel reads.
            length = min(len(entries) - begin, size - at) if at else BUF_SIZE
            written = length if at else BUF_TAIL_OFFSET
            view[at : at + written] = entries[begin : begin + written]
            self._tail = (self._tail + length // BUF_SIZE) & 0xFFFF
            begin += length

    @staticmethod
    def entry(addr: int, length: int, bid: int) -> bytes:
        """The bytes of an entry, to be kept for extend()."""
        return BUF.pack(addr, length, bid).ljust(BUF_SIZE, b"\0")

    def publish(self) -> None:
        """Show the kernel what was added.

        One 16-bit store behind the stores of the entries: in order on x86-64, see lib.uring.ring.
        """
        self._shown[BUF_TAIL_OFFSET // 2] = self._tail

    def unregister(self) -> None:
        """Take the group back from the kernel; OSError (ENOENT, EINVAL) if it has none."""
        reg = BufReg(bgid=self.bgid)
        self.ring.register(Register.UNREGISTER_PBUF_RING, reg, 1)
        self._registered = False

    def _free(self) -> None:
        self._shown.release()
        self._memory.close()

    def close(self) -> None:
        """Unregister if that has not happened yet, while the ring is open."""
        if self._registered and self.ring.fd >= 0:
            self.unregister()


class BufferPool(BufferRing):
    """A provided-buffer group with memory of its own: `count` buffers of `size` bytes each.

    All of them are with the kernel at first unless `fill` is False. give() hands them back.
    """

    def __init__(
        self, ring: Ring, bgid: int, count: int, size: int = PAGE, *, fill: bool = True
    ) -> None:
        self.count, self.size = count, size
        self.memory = Memory(count * size)
        try:
            super().__init__(ring, bgid, 1 << max(0, count - 1).bit_length())
        except OSError:
            self.memory.close()
            raise
        ring.on_close(self.memory.close)
        if fill:
            self.give(*range(count))

    def give(self, *bids: int) -> None:
        """Provide these buffers to the kernel."""
        for bid in bids:
            self.add(self.memory.addr + bid * self.size, self.size, bid)
        self.publish()

    def prepared(self) -> list[bytes]:
        """The entries of all buffers, by number, for extend()."""
        return [
            self.entry(self.memory.addr + bid * self.size, self.size, bid)
            for bid in range(self.count)
        ]

    def buffer(self, bid: int, length: int | None = None, offset: int = 0) -> memoryview:
        """A view (no copy) of buffer `bid`: `length` bytes from `offset`, or all there are."""
        if not 0 <= bid < self.count:
            raise IndexError(f"group {self.bgid} has no buffer {bid}, only {self.count}")
        end = self.size if length is None else offset + length
        return self.memory.view[bid * self.size + offset : bid * self.size + end]
