# SPDX-License-Identifier: GPL-2.0
"""Receiving: issue RECV_ZC, see the pieces where they lie, give the buffers back."""

import fcntl
import os
import select
import socket
import struct
import termios
from collections.abc import Iterable
from dataclasses import dataclass, field

from lib.uring import Cqe, CqeFlag, Memory, Ring, Sqe, SqeFlag
from lib.uring.ring import PATIENCE
from lib.zctap.abi import IOV, IOV_SIZE, addr3
from lib.zctap.probe import Zctap
from lib.zctap.rings import CopyRing, FillRing
from lib.zerocopy import Chunk, Region


class ContractError(AssertionError):
    """The kernel reported something that the contract rules out."""


@dataclass
class Received:
    """One completion: the pieces in stream order, or an errno, or end of stream."""

    cqe: Cqe
    chunks: list[Chunk] = field(default_factory=list)

    @property
    def error(self) -> int:
        """errno, 0 if there was none."""
        return self.cqe.error

    @property
    def end(self) -> bool:
        """The peer has closed and everything has been read."""
        return self.cqe.res == 0

    @property
    def length(self) -> int:
        """Bytes of the stream."""
        return sum(len(chunk.data) for chunk in self.chunks)


def _readable(fd: int) -> bool:
    """Whether there is something to read: bytes, or the end of the stream."""
    (queued,) = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))
    poll = select.poll()
    poll.register(fd, select.POLLIN | select.POLLRDHUP)
    return bool(queued or poll.poll(0))


def _check_copies(chunks: Iterable[Chunk], earlier: set[int]) -> None:
    """RECV-20: one call's pieces of a copy buffer do not overlap, two calls never share one."""
    ends: dict[int, int] = {}
    for chunk in chunks:
        if chunk.zero_copy:
            continue
        where = f"copy buffer {chunk.bid}, {len(chunk.data)} bytes at {chunk.offset}"
        if chunk.bid in earlier:
            raise ContractError(f"{where}: the user holds that buffer since an earlier call")
        if chunk.offset < ends.get(chunk.bid, 0):
            raise ContractError(f"{where}: not behind the piece before it")
        ends[chunk.bid] = chunk.offset + len(chunk.data)


class Receiver:
    """Receives from one socket; at most one request at a time, as it has one metadata buffer.

    iovs: how many pieces a completion may report. region None: a ring without an ifq.
    """

    def __init__(
        self,
        ring: Ring,
        zctap: Zctap,
        sock: socket.socket,
        *,
        region: Region | None,
        copy: CopyRing,
        fill: FillRing | None = None,
        iovs: int = 64,
    ) -> None:
        self.ring, self.zctap, self.sock = ring, zctap, sock
        self.region, self.copy, self.fill = region, copy, fill
        self.metadata = Memory(iovs * IOV_SIZE)
        self.room = iovs * IOV_SIZE
        ring.on_close(self.metadata.close)

    def sqe(self, readlen: int, *, room: int | None = None, msg_flags: int = 0) -> Sqe:
        """The submission for up to `readlen` bytes into `room` bytes of metadata (None: all)."""
        return Sqe(
            self.zctap.recv_zc,
            self.sock.fileno(),
            self.metadata.addr,
            self.room if room is None else room,
            op_flags=msg_flags,
            addr3=addr3(readlen, self.copy.bgid),
        )

    def sqe_select(self, readlen: int, group: int, msg_flags: int = 0) -> Sqe:
        """The submission with a metadata buffer of a provided-buffer group."""
        return Sqe(
            self.zctap.recv_zc,
            self.sock.fileno(),
            op_flags=msg_flags,
            buf=group,
            flags=SqeFlag.BUFFER_SELECT,
            addr3=addr3(readlen, self.copy.bgid),
        )

    def run(self, sqe: Sqe, timeout: float = PATIENCE) -> Received:
        """Submit it and wait: the completion, errors included.

        Raises ContractError if it goes beyond what the submission allows, or if its flags are
        not true: so nobody else may read from the socket meanwhile.
        """
        received = self.decode(self.ring.run(sqe, timeout))
        cqe, readlen = received.cqe, sqe.addr3 >> 32
        if received.length > readlen:
            raise ContractError(f"{cqe}: {received.length} bytes with a readlen of {readlen}")
        if cqe.res > sqe.len:
            raise ContractError(f"{cqe}: more than {sqe.len} bytes of metadata (RECV-18)")
        if cqe.flags & CqeFlag.SOCK_NONEMPTY and not _readable(sqe.fd):
            raise ContractError(f"{cqe}: F_SOCK_NONEMPTY, and nothing to read (RECV-30)")
        if cqe.flags & CqeFlag.MORE:
            raise ContractError(f"{cqe}: F_MORE on a request that is not multishot")
        return received

    def receive(self, readlen: int = 1 << 20, timeout: float = PATIENCE) -> list[Chunk]:
        """Up to `readlen` bytes, waiting for the first; [] at the end of the stream.

        Raises OSError with the completion's errno, TimeoutError, ContractError.
        """
        received = self.run(self.sqe(readlen), timeout)
        if received.error:
            raise OSError(received.error, f"RECV_ZC: {os.strerror(received.error)}")
        return received.chunks

    def decode(self, cqe: Cqe, metadata: memoryview | None = None) -> Received:
        """The pieces a completion reports, checked against the contract.

        metadata: where the iovs are, if not in the receiver's own buffer. From here on the user
        holds the pieces: give_back() is owed for each.
        """
        if cqe.res < 0:
            return Received(cqe)
        view = self.metadata.view[: self.room] if metadata is None else metadata
        if cqe.res % IOV_SIZE or cqe.res > len(view):
            raise ContractError(f"{cqe}: not a number of iovs that fit {len(view)} bytes")
        earlier = set(self.copy.held)
        chunks = [self._chunk(*iov) for iov in IOV.iter_unpack(view[: cqe.res])]
        _check_copies(chunks, earlier)
        return Received(cqe, chunks)

    def _chunk(self, off: int, length: int, bgid: int, bid: int, *_resv: int) -> Chunk:
        iov = f"iov off={off} len={length} bgid={bgid} bid={bid}"
        if not length:
            raise ContractError(f"{iov}: empty")
        try:
            if self.region is not None and bgid == self.region.index:
                data = self.region.piece(bid, off, length)
                self.region.held[bid] += 1
                return Chunk(data, True, bid, off)
            if bgid == self.copy.bgid:
                if off + length > self.copy.size:
                    raise ContractError(f"{iov}: beyond a copy buffer of {self.copy.size} bytes")
                data = self.copy.buffer(bid, length, off)
                self.copy.hold(bid)
                return Chunk(data, False, bid, off)
        except IndexError as error:
            raise ContractError(f"{iov}: {error}") from error
        raise ContractError(f"{iov}: neither the region nor the copy ring's group")

    def give_back(self, chunks: Iterable[Chunk]) -> None:
        """Return the buffers of these pieces: pages by the fill ring, copies to the copy ring."""
        pages = []
        for chunk in chunks:
            if chunk.zero_copy:
                pages.append(chunk.bid)
            else:
                self.copy.release(chunk.bid)
        if pages:
            if self.fill is None:
                raise ValueError("pages to give back and no fill ring")
            self.fill.give(pages)
