# SPDX-License-Identifier: GPL-2.0
"""Completions by the batch, for loops that are to cost next to nothing.

Ring keeps an object for each request and makes one of each completion, which is what a test
wants. Here a completion is a tuple that is gone with the next one, and waiting for a batch is at
most one system call, which submits as well.
"""

import ctypes
import errno
import os
import time
from collections.abc import Iterator, Sequence
from itertools import chain

from lib.deadline import scaled
from lib.uring import abi, syscalls
from lib.uring.abi import Enter
from lib.uring.op import Sqe
from lib.uring.ring import PATIENCE, Ring

_FLAGS = Enter.GETEVENTS | Enter.EXT_ARG
LINGER = 0.001  # seconds, of a fast machine
Completion = tuple[int, int, int]  # user_data, res, flags


class Batches:
    """What a ring completes, batch by batch; nobody else may take its completions meanwhile.

    least: wait for so many completions, though no longer than LINGER if there is one: whoever
    takes each one as it comes is busy with taking them. calls: how often the kernel has been
    entered.
    """

    def __init__(self, ring: Ring, least: int = 1) -> None:
        self.ring, self.least, self.calls = ring, least, 0
        self._linger = scaled(LINGER)
        # Of the ring, which is this package's own, looked up once.
        self._words, self._cqes, self._at = ring._words, ring._cqes, ring._cqes_at
        self._head_at, self._tail_at, self._mask = ring._cq_head, ring._cq_tail, ring._cq_mask
        self._seen: int = self._words[self._head_at]
        self._spec = abi.Timespec()
        self._arg = abi.GeteventsArg(ts=ctypes.addressof(self._spec))

    def push(self, sqe: Sqe, user_data: int) -> None:
        """Queue a request for the next wait(). With a user_data in use it takes that one's place.

        So a request that is made anew with the number of the last leaves nothing behind.
        """
        self.ring.push(sqe, user_data)

    def wait(self, timeout: float = PATIENCE) -> Iterator[Completion]:
        """Submit, and wait for a batch, one completion at least: all there are, oldest first.

        They lie in the CQ until done(). Raises TimeoutError after `timeout` seconds, OSError.
        """
        words, seen = self._words, self._seen
        tail = words[self._tail_at]
        if tail == seen or self.ring.pending:
            tail = self._enter(seen, timeout)
        self._seen = tail
        first, last = seen & self._mask, tail & self._mask
        if first < last:
            return abi.CQE.iter_unpack(self._part(first, last))
        end = self._part(first, self._mask + 1)
        return chain(abi.CQE.iter_unpack(end), abi.CQE.iter_unpack(self._part(0, last)))

    def done(self) -> None:
        """The batch has been read: its place in the CQ is the kernel's again."""
        self._words[self._head_at] = self._seen

    def _part(self, first: int, last: int) -> memoryview:
        size, at = abi.CQE_SIZE, self._at
        return self._cqes[at + first * size : at + last * size]

    def _enter(self, seen: int, timeout: float) -> int:
        """Enter the kernel until the CQ is not empty: its tail."""
        words, spec = self._words, self._spec
        deadline = time.monotonic() + timeout
        least, left = self.least, timeout if self.least == 1 else min(timeout, self._linger)
        while True:
            spec.tv_sec = int(left)
            spec.tv_nsec = int(left % 1 * 1e9)
            # As Ring.submit() does; nothing is lost if nothing was pushed.
            words[self.ring._sq_tail] = self.ring._tail
            self.calls += 1
            try:
                syscalls.enter(
                    self.ring.fd,
                    self.ring.pending,
                    least,
                    _FLAGS,
                    ctypes.addressof(self._arg),
                    ctypes.sizeof(self._arg),
                )
            except OSError as error:
                if error.errno not in (errno.EINTR, errno.ETIME):
                    raise
            tail = words[self._tail_at]
            least, left = 1, deadline - time.monotonic()
            if tail != seen:
                return tail
            if left <= 0:
                raise TimeoutError(f"no completion after {timeout:.1f} s")


class Streams:
    """A multishot request for each of some streams, made anew until the stream has ended.

    open: the numbers of those that have not, which are the user_data of their requests. `name` is
    the operation's, for errors.
    """

    def __init__(self, batches: Batches, requests: Sequence[Sqe], name: str) -> None:
        self._batches, self._requests, self._name = batches, requests, name
        self.open = set(range(len(requests)))
        for number in self.open:
            batches.push(requests[number], number)

    def ended(self, number: int, res: int) -> bool:
        """A request has completed for the last time; whether it was made anew. Raises OSError."""
        if res == 0:
            self.open.discard(number)
            return False
        if res < 0 and res != -errno.ENOBUFS:
            raise OSError(-res, f"{self._name}: {os.strerror(-res)}")
        # Buffers had run out, and are there again; or the CQ was full.
        self._batches.push(self._requests[number], number)
        return True
