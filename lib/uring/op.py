# SPDX-License-Identifier: GPL-2.0
"""Submissions: a value for one SQE, and a function for each operation that fills it in.

Every function returns an Sqe, and nothing is handed to the kernel until Ring.push(). Where a
buffer is given, the Sqe keeps it alive until the ring has seen the last completion.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lib.uring.abi import (
    POLL_ADD_MULTI,
    SQE,
    Cancel,
    Op,
    RecvSend,
    SqeFlag,
    Timespec,
)
from lib.uring.memory import address_of

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


@dataclass(slots=True)
class Sqe:
    """One submission; the fields are those of struct io_uring_sqe with its unions named once.

    buf: buf_index or buf_group. op_flags: the 32-bit union (msg_flags, cancel_flags, ...).
    keep: whatever must stay alive while the request is in flight.
    """

    opcode: int
    fd: int = -1
    addr: int = 0
    len: int = 0
    off: int = 0
    op_flags: int = 0
    ioprio: int = 0
    buf: int = 0
    flags: int = 0
    personality: int = 0
    splice_fd: int = 0
    addr3: int = 0
    keep: Any = None

    def pack_into(self, buffer: "WriteableBuffer", offset: int, user_data: int) -> None:
        """Write the 64 bytes of the entry at `offset`."""
        SQE.pack_into(
            buffer,
            offset,
            self.opcode,
            self.flags,
            self.ioprio,
            self.fd,
            self.off,
            self.addr,
            self.len,
            self.op_flags,
            user_data,
            self.buf,
            self.personality,
            self.splice_fd,
            self.addr3,
            0,
        )

    def with_flags(self, flags: SqeFlag) -> "Sqe":
        """The same submission with these IOSQE flags added."""
        return replace(self, flags=self.flags | flags)


def nop() -> Sqe:
    """Completes with 0."""
    return Sqe(Op.NOP)


def recv(fd: int, buffer: "WriteableBuffer", length: int | None = None, msg_flags: int = 0) -> Sqe:
    """recv(2) of up to `length` bytes (None: all of the buffer) into a writable buffer."""
    size = memoryview(buffer).nbytes if length is None else length
    return Sqe(Op.RECV, fd, address_of(buffer), size, op_flags=msg_flags, keep=buffer)


def recv_select(
    fd: int, group: int, *, length: int = 0, multishot: bool = False, msg_flags: int = 0
) -> Sqe:
    """recv(2) into a buffer of a provided-buffer group; length 0 means the whole buffer."""
    return Sqe(
        Op.RECV,
        fd,
        len=length,
        op_flags=msg_flags,
        ioprio=RecvSend.MULTISHOT if multishot else 0,
        buf=group,
        flags=SqeFlag.BUFFER_SELECT,
    )


def send(fd: int, data: "WriteableBuffer | bytes", msg_flags: int = 0) -> Sqe:
    """send(2) of all of `data` (bytes or a writable buffer); may complete short."""
    size = memoryview(data).nbytes
    return Sqe(Op.SEND, fd, address_of(data), size, op_flags=msg_flags, keep=data)


def read_fixed(fd: int, addr: int, length: int, index: int, offset: int = 0) -> Sqe:
    """read(2) into registered buffer `index`; addr lies in it."""
    return Sqe(Op.READ_FIXED, fd, addr, length, offset, buf=index)


def write_fixed(fd: int, addr: int, length: int, index: int, offset: int = 0) -> Sqe:
    """write(2) from registered buffer `index`; addr lies in it."""
    return Sqe(Op.WRITE_FIXED, fd, addr, length, offset, buf=index)


def poll_add(fd: int, events: int, *, multishot: bool = False) -> Sqe:
    """poll(2): completes with the events that are ready."""
    return Sqe(Op.POLL_ADD, fd, len=POLL_ADD_MULTI if multishot else 0, op_flags=events)


def timeout(seconds: float, *, count: int = 0, flags: int = 0) -> Sqe:
    """Completes with -ETIME after `seconds`, or with 0 once `count` other requests completed."""
    spec = Timespec.of(seconds)
    return Sqe(Op.TIMEOUT, addr=address_of(spec), len=1, off=count, op_flags=flags, keep=spec)


def link_timeout(seconds: float) -> Sqe:
    """Cancels the request it is linked behind after `seconds`."""
    spec = Timespec.of(seconds)
    return Sqe(Op.LINK_TIMEOUT, addr=address_of(spec), len=1, keep=spec)


def cancel(user_data: int, flags: int = 0) -> Sqe:
    """Cancels the request with that user_data: 0, -ENOENT or -EALREADY."""
    return Sqe(Op.ASYNC_CANCEL, addr=user_data, op_flags=flags)


def cancel_fd(fd: int, flags: int = 0) -> Sqe:
    """Cancels a request on that descriptor (Cancel.ALL: all of them, completes with how many)."""
    return Sqe(Op.ASYNC_CANCEL, fd, op_flags=Cancel.FD | flags)


def provide_buffers(addr: int, size: int, count: int, group: int, first: int = 0) -> Sqe:
    """Puts buffers into a classic group: `count` of `size` bytes each, from `addr` on."""
    return Sqe(Op.PROVIDE_BUFFERS, count, addr, size, first, buf=group)


def remove_buffers(count: int, group: int) -> Sqe:
    """Takes up to `count` buffers out of a classic group; completes with how many."""
    return Sqe(Op.REMOVE_BUFFERS, count, buf=group)
