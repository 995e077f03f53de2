# SPDX-License-Identifier: GPL-2.0
"""An io_uring instance: set-up, mapping, submission and completion, without compiled code.

Memory ordering, on x86-64 only (anything else is refused at import)
-------------------------------------------------------------------
The rings need four things of us: the SQE (and the SQ array) visible before the SQ tail; the CQ
tail read before the CQEs; the CQEs read before the CQ head is stored; and, with SQPOLL, the SQ
tail visible before NEED_WAKEUP is read.

* Width. Indexes are single items of a memoryview cast to "I" over naturally aligned 32-bit words.
  CPython reads and writes such an item with a 4-byte memcpy, which gcc and clang turn into one
  `mov`: no torn index. This is a property of the compiled interpreter, not a promise of C.
* Compiler order. Each access is a call of its own through the buffer protocol, opaque to the
  compiler: it neither merges nor reorders two of them.
* CPU order. x86-64 is TSO: stores become visible in program order (SQE, then tail), loads happen
  in program order (tail, then CQE), and no store passes an earlier load (CQEs, then head). So the
  first three need no barrier, as in liburing, where they are plain moves on this architecture.
* The fourth needs a store-load barrier, which TSO does not give and Python does not offer. Hence
  with SQPOLL submit() always enters the kernel with SQ_WAKEUP (the system call is the barrier)
  instead of looking at the flag: one call more, and never a lost wake-up.

The GIL keeps two Python threads from interleaving inside one access, not from interleaving
between two: a Ring belongs to one thread at a time.
"""

import contextlib
import ctypes
import errno
import os
import platform
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from lib import waits
from lib.uring import abi, syscalls
from lib.uring.abi import CqeFlag, Enter, Feature, Register, Setup
from lib.uring.op import Sqe

if TYPE_CHECKING:
    from ctypes import Array, Structure

if platform.machine() != "x86_64":
    raise ImportError("lib.uring argues its memory ordering for x86-64 only")

# Long enough for a request under an emulated debug kernel; only a hang ever gets there.
PATIENCE = 60.0

_libc = ctypes.CDLL(None, use_errno=True)
_mmap, _munmap = _libc["mmap"], _libc["munmap"]
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
)
_munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_PROT_READ_WRITE, _MAP_SHARED_POPULATE = 0x3, 0x8001


class Cqe(NamedTuple):
    """One completion: `res` is a count or -errno."""

    user_data: int
    res: int
    flags: int

    @property
    def more(self) -> bool:
        """The request stays armed and will complete again."""
        return bool(self.flags & CqeFlag.MORE)

    @property
    def buffer_id(self) -> int | None:
        """Id of the provided buffer that was consumed, None if there was none."""
        if not self.flags & CqeFlag.BUFFER:
            return None
        return self.flags >> abi.CQE_BUFFER_SHIFT

    @property
    def error(self) -> int:
        """errno, 0 on success."""
        return -self.res if self.res < 0 else 0


class _Mapping:
    """A mapping of the ring's descriptor; no hidden copy of the descriptor, unlike mmap.mmap."""

    def __init__(self, fd: int, offset: int, size: int) -> None:
        addr = _mmap(None, size, _PROT_READ_WRITE, _MAP_SHARED_POPULATE, fd, offset)
        if addr is None or addr == ctypes.c_void_p(-1).value:
            raise OSError(ctypes.get_errno(), f"mmap of the ring at {offset:#x}")
        self._addr, self._size = addr, size
        whole = memoryview((ctypes.c_char * size).from_address(addr))
        self.bytes = whole.cast("B")
        self.words: memoryview[int] = self.bytes.cast("I")

    def close(self) -> None:
        """Unmap. The views are released first: a late access raises ValueError, never faults."""
        self.words.release()
        self.bytes.release()
        _munmap(self._addr, self._size)


class Ring:
    """An io_uring with `entries` SQEs; use it as a context manager or close() it.

    Raises OSError as io_uring_setup() does (EINVAL for flags the kernel does not know, ENOMEM,
    EPERM), and NotImplementedError on a kernel without IORING_FEAT_EXT_ARG (before 5.11).
    """

    def __init__(
        self,
        entries: int = 32,
        flags: int = 0,
        *,
        cq_entries: int = 0,
        sq_idle_ms: int = 0,
    ) -> None:
        if flags & (Setup.SQE128 | Setup.CQE32):
            raise ValueError("rings with wide entries are not spoken here")
        params = abi.Params(flags=flags, sq_thread_idle=sq_idle_ms)
        if cq_entries:
            params.flags |= Setup.CQSIZE
            params.cq_entries = cq_entries
        self.fd = syscalls.setup(entries, ctypes.addressof(params))
        self.flags, self.features = Setup(params.flags), params.features
        self.sq_entries: int = params.sq_entries
        self.cq_entries: int = params.cq_entries
        self._undo = contextlib.ExitStack()
        try:
            self._map(params)
        except BaseException:
            self.close()
            raise

    def _map(self, params: abi.Params) -> None:
        need = Feature.SINGLE_MMAP | Feature.EXT_ARG
        if self.features & need != need:
            raise NotImplementedError(f"io_uring features {self.features:#x} lack {need!r}")
        sq, cq = params.sq_off, params.cq_off
        size = max(sq.array + 4 * params.sq_entries, cq.cqes + abi.CQE_SIZE * params.cq_entries)
        rings = self._mapping(abi.OFF_SQ_RING, size)
        self._sqes = self._mapping(abi.OFF_SQES, params.sq_entries * abi.SQE_SIZE).bytes
        self._words, self._cqes = rings.words, rings.bytes
        self._cqes_at: int = cq.cqes
        # Where each shared word is, as an index of self._words.
        self._sq_head: int = sq.head // 4
        self._sq_tail: int = sq.tail // 4
        self._sq_flags: int = sq.flags // 4
        self._sq_dropped: int = sq.dropped // 4
        self._cq_head: int = cq.head // 4
        self._cq_tail: int = cq.tail // 4
        self._cq_overflow: int = cq.overflow // 4
        self._sq_mask = self._words[sq.ring_mask // 4]
        self._cq_mask = self._words[cq.ring_mask // 4]
        # SQE i always goes through slot i of the array: filled in once, never touched again.
        for slot in range(params.sq_entries):
            self._words[sq.array // 4 + slot] = slot
        self._tail: int = self._words[self._sq_tail]
        self._next_user_data = 1
        self._inflight: dict[int, Sqe] = {}
        self._early: list[Cqe] = []
        self._has_table = False
        self._slots: set[int] = set()  # that have been filled
        # A buffer has been replaced: the kernel takes a second over letting go of the old one,
        # unless the table is dropped (io_uring/rsrc.c:io_rsrc_node_ref_zero).
        self.replaced_buffers = False

    def _mapping(self, offset: int, size: int) -> _Mapping:
        mapping = _Mapping(self.fd, offset, size)
        self._undo.callback(mapping.close)
        return mapping

    # -- submission ------------------------------------------------------------------------

    def push(self, sqe: Sqe, user_data: int | None = None) -> int:
        """Put an SQE into the queue for the next submit(); the user_data it got.

        Without one given, it is a number that this ring has not used yet. Raises
        BlockingIOError when the queue is full.
        """
        tail = self._tail
        if (tail - self._words[self._sq_head]) & 0xFFFFFFFF >= self.sq_entries:
            raise BlockingIOError(errno.EAGAIN, "submission queue full")
        if user_data is None:
            user_data = self._next_user_data
            self._next_user_data += 1
        sqe.pack_into(self._sqes, (tail & self._sq_mask) * abi.SQE_SIZE, user_data)
        self._inflight[user_data] = sqe
        self._tail = (tail + 1) & 0xFFFFFFFF
        return user_data

    @property
    def pending(self) -> int:
        """SQEs pushed that the kernel has not taken yet."""
        return (self._tail - self._words[self._sq_head]) & 0xFFFFFFFF

    def submit(self) -> int:
        """Hand the pushed SQEs to the kernel; how many it took (with SQPOLL: was shown)."""
        self._words[self._sq_tail] = self._tail
        flags = Enter.SQ_WAKEUP if self.flags & Setup.SQPOLL else 0
        return self._enter(self.pending, 0, flags)

    def _enter(self, to_submit: int, min_complete: int, flags: int) -> int:
        return syscalls.enter(self.fd, to_submit, min_complete, flags, 0, 0)

    # -- completion ------------------------------------------------------------------------

    @property
    def overflowed(self) -> bool:
        """Completions wait in the kernel because the CQ was full (IORING_SQ_CQ_OVERFLOW)."""
        return bool(self._words[self._sq_flags] & abi.SqRing.CQ_OVERFLOW)

    @property
    def lost(self) -> int:
        """Completions the kernel could not even keep aside (the CQ ring's overflow counter)."""
        return self._words[self._cq_overflow]

    @property
    def dropped(self) -> int:
        """SQEs the kernel refused as invalid indexes (the SQ ring's dropped counter)."""
        return self._words[self._sq_dropped]

    def ready(self) -> int:
        """Completions that lie in the CQ now; no system call."""
        words = self._words
        return (words[self._cq_tail] - words[self._cq_head]) & 0xFFFFFFFF

    def _harvest(self) -> list[Cqe]:
        words, mask, unpack = self._words, self._cq_mask, abi.CQE.unpack_from
        head, tail = words[self._cq_head], words[self._cq_tail]
        found = []
        while head != tail:
            cqe = Cqe._make(unpack(self._cqes, self._cqes_at + (head & mask) * abi.CQE_SIZE))
            if not cqe.flags & CqeFlag.MORE:
                self._inflight.pop(cqe.user_data, None)
            found.append(cqe)
            head = (head + 1) & 0xFFFFFFFF
        words[self._cq_head] = head
        return found

    def reap(self) -> list[Cqe]:
        """All completions there are now, without waiting.

        One io_uring_enter() lets deferred task work run and moves overflowed completions into
        the CQ; a CQ that was full may leave some for the next call.
        """
        found, self._early = self._early, []
        found += self._harvest()
        if not found or self.overflowed:
            self._enter(0, 0, Enter.GETEVENTS)
            found += self._harvest()
        return found

    def wait(self, count: int = 1, timeout: float = PATIENCE) -> list[Cqe]:
        """Submit what was pushed, then wait until `count` completions are here; all there are.

        Raises TimeoutError after `timeout` seconds: those that came are kept for the next call.
        """
        if self.pending:
            self.submit()
        found, self._early = self._early, []
        found += self._harvest()
        deadline = time.monotonic() + timeout
        try:
            while len(found) < count:
                self._wait_for(count - len(found), deadline)
                found += self._harvest()
        except BaseException as error:
            self._early = found
            if isinstance(error, OSError) and error.errno == errno.ETIME:
                raise TimeoutError(
                    f"{len(found)} of {count} completions after {timeout:.1f} s"
                ) from None
            raise
        return found

    def _wait_for(self, count: int, deadline: float) -> None:
        left = max(0.0, deadline - time.monotonic())
        spec = abi.Timespec.of(left)
        arg = abi.GeteventsArg(ts=ctypes.addressof(spec))
        flags = Enter.GETEVENTS | Enter.EXT_ARG
        begin = time.monotonic()
        try:
            syscalls.enter(self.fd, 0, count, flags, ctypes.addressof(arg), ctypes.sizeof(arg))
        except InterruptedError:
            return  # a signal: the caller looks at the queue and the clock again
        finally:
            waits.note("completions", time.monotonic() - begin)

    def wait_for(self, user_data: int, timeout: float = PATIENCE) -> Cqe:
        """The next completion with that user_data; others are kept for the next wait or reap."""
        deadline, others = time.monotonic() + timeout, []
        try:
            while True:
                batch = self.wait(1, max(0.0, deadline - time.monotonic()))
                for at, cqe in enumerate(batch):
                    if cqe.user_data == user_data:
                        others += batch[:at] + batch[at + 1 :]
                        return cqe
                others += batch
        finally:
            self._early = others + self._early

    def run(self, sqe: Sqe, timeout: float = PATIENCE) -> Cqe:
        """Submit one request and wait for its (first) completion."""
        return self.wait_for(self.push(sqe), timeout)

    # -- registration ----------------------------------------------------------------------

    def register(
        self, opcode: int, arg: "Structure | Array[Any] | int | None", nr_args: int
    ) -> int:
        """io_uring_register(); arg is a structure, an address, or None for NULL."""
        address = arg if arg is None or isinstance(arg, int) else ctypes.addressof(arg)
        return syscalls.register(self.fd, opcode, address, nr_args)

    def register_buffers(self, areas: Iterable[tuple[int, int]]) -> None:
        """Pin memory as fixed buffers 0, 1, ...; each area is (address, bytes)."""
        iovecs = [abi.Iovec(base, size) for base, size in areas]
        table = (abi.Iovec * len(iovecs))(*iovecs)
        self.register(Register.BUFFERS, table, len(iovecs))

    def register_sparse_buffers(self, count: int) -> None:
        """A table of `count` empty slots, for update_buffer()."""
        arg = abi.RsrcRegister(nr=count, flags=abi.RSRC_REGISTER_SPARSE)
        self.register(Register.BUFFERS2, arg, ctypes.sizeof(arg))

    def update_buffer(self, index: int, addr: int, size: int) -> None:
        """Put memory into slot `index` (address and size 0: empty it)."""
        iovec = abi.Iovec(addr, size)
        arg = abi.RsrcUpdate2(offset=index, data=ctypes.addressof(iovec), nr=1)
        self.register(Register.BUFFERS_UPDATE, arg, ctypes.sizeof(arg))
        self.replaced_buffers |= index in self._slots
        self._slots.add(index)

    def set_buffer(self, index: int, addr: int, size: int) -> None:
        """Pin memory as fixed buffer `index`, below 16, in a table made on first use."""
        if not self._has_table:
            self.register_sparse_buffers(16)
            self._has_table = True
        self.update_buffer(index, addr, size)

    def unregister_buffers(self) -> None:
        """Drop the whole table of fixed buffers."""
        self.register(Register.UNREGISTER_BUFFERS, None, 0)
        self._has_table = self.replaced_buffers = False
        self._slots.clear()

    def register_files(self, fds: Iterable[int]) -> None:
        """Fixed files 0, 1, ...; -1 leaves a slot empty."""
        numbers = list(fds)
        table = (ctypes.c_int32 * len(numbers))(*numbers)
        self.register(Register.FILES, ctypes.addressof(table), len(numbers))

    def enable(self) -> None:
        """Start a ring that was set up with R_DISABLED."""
        self.register(Register.ENABLE_RINGS, None, 0)

    # -- end -------------------------------------------------------------------------------

    def on_close(self, undo: Callable[[], object]) -> None:
        """Call `undo` once the ring is closed; last come, first called."""
        self._undo.callback(undo)

    def close(self) -> None:
        """Close the descriptor, unmap, do what on_close() was told. Harmless when repeated.

        The kernel takes the ring apart later, on a worker of its own.
        """
        if self.fd < 0:
            return
        fd, self.fd = self.fd, -1
        try:
            os.close(fd)
        finally:
            self._undo.close()

    def __enter__(self) -> "Ring":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
