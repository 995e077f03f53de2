# SPDX-License-Identifier: GPL-2.0
"""Multishot RECV on any number of sockets, at next to no cost: what others are measured against."""

import socket
from collections.abc import Sequence

from lib.uring import op
from lib.uring.abi import CQE_BUFFER_SHIFT, CqeFlag
from lib.uring.batch import Batches, Streams
from lib.uring.buffers import BufferPool
from lib.uring.ring import PATIENCE, Ring

# Enumerators take several times as long as numbers.
_BUFFER, _MORE = int(CqeFlag.BUFFER), int(CqeFlag.MORE)


class RecvDrain:
    """Receives from sockets until each has ended; nobody looks at the bytes. batch: see Batches."""

    def __init__(
        self, ring: Ring, socks: Sequence[socket.socket], pool: BufferPool, *, batch: int = 1
    ) -> None:
        self.batches, self.pool = Batches(ring, batch), pool
        self.total = self.completions = self.again = 0
        self._entries = pool.prepared()
        requests = [op.recv_select(one.fileno(), pool.bgid, multishot=True) for one in socks]
        self._streams = Streams(self.batches, requests, "RECV")

    def run(self, timeout: float = PATIENCE) -> None:
        """Receive. Raises OSError, TimeoutError if nothing comes for so many seconds."""
        while self._streams.open:
            self._step(timeout)

    def _step(self, timeout: float) -> None:
        used: list[bytes] = []
        ended: list[tuple[int, int]] = []
        has_buffer, has_more, shift, entries = _BUFFER, _MORE, CQE_BUFFER_SHIFT, self._entries
        total = count = 0
        for number, res, flags in self.batches.wait(timeout):
            count += 1
            if flags & has_buffer:
                used.append(entries[flags >> shift])
            if res > 0:
                total += res
            if not flags & has_more:
                ended.append((number, res))
        self.batches.done()
        self.total += total
        self.completions += count
        if used:
            self.pool.extend(b"".join(used))
            self.pool.publish()
        for number, res in ended:
            self.again += self._streams.ended(number, res)
