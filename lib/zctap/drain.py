# SPDX-License-Identifier: GPL-2.0
"""A receive loop that costs next to nothing: for streams of which every byte counts, not each.

Multishot RECV_ZC on any number of sockets. Completions are taken by the batch, iovs are read where
the kernel wrote them, all of a completion in one call, and whatever was used goes back when the
batch is done: pages, copy buffers and metadata buffers by one store each. docs/bench.md says what
that costs. Receiver is for tests: it looks at each piece, and takes many times as long.
"""

import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from lib.uring import BufferPool, CqeFlag, RecvSend, Ring, Sqe, SqeFlag
from lib.uring.abi import CQE_BUFFER_SHIFT
from lib.uring.batch import Batches, Streams
from lib.uring.ring import PATIENCE
from lib.zctap.abi import IOV, IOV_SIZE, addr3
from lib.zctap.probe import Zctap
from lib.zctap.receiver import ContractError, Receiver
from lib.zctap.rings import CopyRing, FillRing
from lib.zerocopy import Region

IOVS = 64  # of a metadata buffer
_READLEN = 1 << 16  # bytes that a completion reports at most
_MOST = 64  # metadata buffers
# Of so many iovs in a row: length, group and buffer of each, one after the other.
_OF = [struct.Struct("<" + "4xIHH4x" * count) for count in range(IOVS + 1)]

# Enumerators take several times as long as numbers.
_BUFFER, _MORE = int(CqeFlag.BUFFER), int(CqeFlag.MORE)

Sink = Callable[[int, memoryview, bool], None]


@dataclass
class Drained:
    """What came, by the iovs: bytes by their group, iovs, completions, requests made anew."""

    zero_copy: int = 0
    copied: int = 0
    iovs: int = 0
    completions: int = 0
    again: int = 0

    @property
    def total(self) -> int:
        """Bytes in all."""
        return self.zero_copy + self.copied


class Drain:
    """Receives from sockets until each has ended.

    sink: called with the number of the socket, a view of each piece, which is good until it
    returns, and whether it came without a copy; if None, nobody looks at the bytes. Raises
    OSError. What a piece says is checked only as far as it is used: see Receiver.

    meta: the group for metadata buffers. Each may report `readlen` bytes before any page goes
    back, while TCP takes them for read and lets the peer send on. So the region has to have room
    for all of that, for what the receive buffers take (twice SO_RCVBUF each) and for the device's
    own; else frames are dropped, and what comes behind them is copied, as it is out of order.
    batch: how many completions to wait for, see Batches; fewer than metadata buffers.
    """

    def __init__(
        self,
        ring: Ring,
        zctap: Zctap,
        socks: Sequence[socket.socket],
        *,
        region: Region,
        fill: FillRing,
        copy: CopyRing,
        meta: BufferPool,
        readlen: int = _READLEN,
        sink: Sink | None = None,
        batch: int = 1,
    ) -> None:
        if meta.size != IOVS * IOV_SIZE:
            raise ValueError(f"metadata buffers of {meta.size} bytes, not {IOVS * IOV_SIZE}")
        self.region, self.fill, self.copy, self.meta, self.sink = region, fill, copy, meta, sink
        self.batches, self.drained = Batches(ring, batch), Drained()
        requests = [
            Sqe(
                zctap.recv_zc,
                sock.fileno(),
                ioprio=RecvSend.MULTISHOT,
                buf=meta.bgid,
                flags=SqeFlag.BUFFER_SELECT,
                addr3=addr3(readlen, copy.bgid),
            )
            for sock in socks
        ]
        self._page_entries, self._copy_entries = fill.prepared(), copy.prepared()
        self._meta_entries = meta.prepared()
        # What the batch has used up.
        self._pages: list[int] = []
        self._copies: list[int] = []
        self._metas: list[int] = []
        self._streams = Streams(self.batches, requests, "RECV_ZC")
        self.open = self._streams.open

    @classmethod
    def of(cls, receiver: Receiver, group: int, sink: Sink | None = None) -> Self:
        """One for a receiver's socket, with its buffers, and a group of its own for metadata.

        A batch is a quarter of the region at most.
        """
        region, fill = receiver.region, receiver.fill
        if region is None or fill is None:
            raise ValueError("there is no region, or no ring to give its pages back by")
        count = max(1, min(_MOST, region.size // 4 // _READLEN))
        meta = BufferPool(receiver.ring, group, count, IOVS * IOV_SIZE)
        return cls(
            receiver.ring,
            receiver.zctap,
            [receiver.sock],
            region=region,
            fill=fill,
            copy=receiver.copy,
            meta=meta,
            sink=sink,
        )

    def run(self, total: int | None = None, timeout: float = PATIENCE) -> Drained:
        """Receive until all sockets have ended, or `total` bytes have come.

        Raises TimeoutError if nothing comes for so many seconds.
        """
        drained = self.drained
        while self.open and (total is None or drained.total < total):
            self.step(timeout)
        return drained

    def step(self, timeout: float = PATIENCE) -> None:
        """Take a batch, and give back what it used. Raises TimeoutError, OSError."""
        ended: list[tuple[int, int]] = []
        add, metas, shift, size = self._add, self._metas, CQE_BUFFER_SHIFT, self.meta.size
        has_buffer, has_more, count = _BUFFER, _MORE, 0
        for number, res, flags in self.batches.wait(timeout):
            count += 1
            if flags & has_buffer:
                bid = flags >> shift
                metas.append(bid)
                if res > 0:
                    add(number, bid * size, res // IOV_SIZE)
            if not flags & has_more:
                ended.append((number, res))
        self.batches.done()
        self.drained.completions += count
        self._give_back()
        for number, res in ended:
            self.drained.again += self._streams.ended(number, res)

    def _add(self, number: int, at: int, count: int) -> None:
        """Count the iovs of a completion; what they use goes back with the batch."""
        drained, fields = self.drained, _OF[count].unpack_from(self.meta.memory.view, at)
        drained.iovs += count
        if self.sink:
            self._hand_out(number, at, count)
        groups, bids = fields[1::3], fields[2::3]
        if groups.count(self.region.index) == count:
            drained.zero_copy += sum(fields[::3])
            self._pages += bids
        elif groups.count(self.copy.bgid) == count:
            drained.copied += sum(fields[::3])
            # Several pieces of a call may share a buffer (RECV-20).
            self._copies += dict.fromkeys(bids)
        else:
            self._add_mixed(fields)

    def _add_mixed(self, fields: tuple[int, ...]) -> None:
        copies: dict[int, None] = {}
        for length, group, bid in zip(fields[::3], fields[1::3], fields[2::3], strict=True):
            if group == self.region.index:
                self.drained.zero_copy += length
                self._pages.append(bid)
            elif group == self.copy.bgid:
                self.drained.copied += length
                copies[bid] = None
            else:
                raise ContractError(f"iov of group {group}: neither the region nor the copies")
        self._copies += copies

    def _hand_out(self, number: int, at: int, count: int) -> None:
        iovs = self.meta.memory.view[at : at + count * IOV_SIZE]
        for offset, length, group, bid, _, _ in IOV.iter_unpack(iovs):
            if group == self.region.index:
                self.sink(number, self.region.piece(bid, offset, length), True)  # type: ignore[misc]
            else:
                self.sink(number, self.copy.buffer(bid, length, offset), False)  # type: ignore[misc]

    def _give_back(self) -> None:
        try:
            if self._pages:
                entries = b"".join(map(self._page_entries.__getitem__, self._pages))
                self.fill.recycle(self._pages, entries)
                self._pages.clear()
            for pool, bids, prepared in (
                (self.copy, self._copies, self._copy_entries),
                (self.meta, self._metas, self._meta_entries),
            ):
                if bids:
                    pool.extend(b"".join(map(prepared.__getitem__, bids)))
                    pool.publish()
                    bids.clear()
        except IndexError:
            raise ContractError(
                "an iov, or a completion, names a buffer that is not there"
            ) from None
