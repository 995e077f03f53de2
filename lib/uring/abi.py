# SPDX-License-Identifier: GPL-2.0
"""Structures and constants of io_uring as of Linux 6.1 (include/uapi/linux/io_uring.h).

All of it is stable ABI: later kernels only add. Each structure's size and offsets are asserted
here, at import, so that a slip in a field shows up before any kernel reads it.
"""

import ctypes
import struct
from enum import IntEnum, IntFlag


def check_layout(kind: type[ctypes.Structure], size: int, **offsets: int) -> None:
    """Raise AssertionError unless `kind` has this size and these field offsets (bytes)."""
    seen = {name: getattr(kind, name).offset for name in offsets}
    if ctypes.sizeof(kind) != size or seen != offsets:
        raise AssertionError(
            f"{kind.__name__}: size {ctypes.sizeof(kind)}, offsets {seen};"
            f" expected size {size}, offsets {offsets}"
        )


class Op(IntEnum):
    """Opcodes in use here; enum io_uring_op."""

    NOP = 0
    READ_FIXED = 4
    WRITE_FIXED = 5
    POLL_ADD = 6
    POLL_REMOVE = 7
    TIMEOUT = 11
    TIMEOUT_REMOVE = 12
    ASYNC_CANCEL = 14
    LINK_TIMEOUT = 15
    READ = 22
    WRITE = 23
    SEND = 26
    RECV = 27
    PROVIDE_BUFFERS = 31
    REMOVE_BUFFERS = 32


class SqeFlag(IntFlag):
    """IOSQE_*: flags of a submission."""

    FIXED_FILE = 1 << 0
    IO_DRAIN = 1 << 1
    IO_LINK = 1 << 2
    IO_HARDLINK = 1 << 3
    ASYNC = 1 << 4
    BUFFER_SELECT = 1 << 5
    CQE_SKIP_SUCCESS = 1 << 6


class Setup(IntFlag):
    """IORING_SETUP_*."""

    IOPOLL = 1 << 0
    SQPOLL = 1 << 1
    SQ_AFF = 1 << 2
    CQSIZE = 1 << 3
    CLAMP = 1 << 4
    ATTACH_WQ = 1 << 5
    R_DISABLED = 1 << 6
    SUBMIT_ALL = 1 << 7
    COOP_TASKRUN = 1 << 8
    TASKRUN_FLAG = 1 << 9
    SQE128 = 1 << 10
    CQE32 = 1 << 11
    SINGLE_ISSUER = 1 << 12
    DEFER_TASKRUN = 1 << 13


class Feature(IntFlag):
    """IORING_FEAT_*: what io_uring_setup() reports."""

    SINGLE_MMAP = 1 << 0
    NODROP = 1 << 1
    FAST_POLL = 1 << 5
    EXT_ARG = 1 << 8
    RSRC_TAGS = 1 << 10
    CQE_SKIP = 1 << 11


class Register(IntEnum):
    """IORING_REGISTER_*: opcodes of io_uring_register()."""

    BUFFERS = 0
    UNREGISTER_BUFFERS = 1
    FILES = 2
    UNREGISTER_FILES = 3
    RESTRICTIONS = 11
    ENABLE_RINGS = 12
    BUFFERS2 = 15
    BUFFERS_UPDATE = 16
    PBUF_RING = 22
    UNREGISTER_PBUF_RING = 23


class CqeFlag(IntFlag):
    """IORING_CQE_F_*; the buffer id is in the upper 16 bits when BUFFER is set."""

    BUFFER = 1 << 0
    MORE = 1 << 1
    SOCK_NONEMPTY = 1 << 2
    NOTIF = 1 << 3


CQE_BUFFER_SHIFT = 16


class Enter(IntFlag):
    """IORING_ENTER_*."""

    GETEVENTS = 1 << 0
    SQ_WAKEUP = 1 << 1
    SQ_WAIT = 1 << 2
    EXT_ARG = 1 << 3


class SqRing(IntFlag):
    """IORING_SQ_*: flags the kernel shows in the SQ ring."""

    NEED_WAKEUP = 1 << 0
    CQ_OVERFLOW = 1 << 1
    TASKRUN = 1 << 2


class RecvSend(IntFlag):
    """sqe->ioprio of recv and send."""

    POLL_FIRST = 1 << 0
    MULTISHOT = 1 << 1


class Cancel(IntFlag):
    """IORING_ASYNC_CANCEL_*: sqe->cancel_flags."""

    ALL = 1 << 0
    FD = 1 << 1
    ANY = 1 << 2
    FD_FIXED = 1 << 3


class Timeout(IntFlag):
    """IORING_TIMEOUT_*: sqe->timeout_flags."""

    ABS = 1 << 0
    ETIME_SUCCESS = 1 << 5


class Restriction(IntEnum):
    """IORING_RESTRICTION_*."""

    REGISTER_OP = 0
    SQE_OP = 1


POLL_ADD_MULTI = 1 << 0
OFF_SQ_RING, OFF_CQ_RING, OFF_SQES = 0, 0x8000000, 0x10000000
RSRC_REGISTER_SPARSE = 1 << 0


class SqOffsets(ctypes.Structure):
    """struct io_sqring_offsets."""

    _fields_ = [
        ("head", ctypes.c_uint32),
        ("tail", ctypes.c_uint32),
        ("ring_mask", ctypes.c_uint32),
        ("ring_entries", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("dropped", ctypes.c_uint32),
        ("array", ctypes.c_uint32),
        ("resv1", ctypes.c_uint32),
        ("resv2", ctypes.c_uint64),
    ]


class CqOffsets(ctypes.Structure):
    """struct io_cqring_offsets."""

    _fields_ = [
        ("head", ctypes.c_uint32),
        ("tail", ctypes.c_uint32),
        ("ring_mask", ctypes.c_uint32),
        ("ring_entries", ctypes.c_uint32),
        ("overflow", ctypes.c_uint32),
        ("cqes", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("resv1", ctypes.c_uint32),
        ("resv2", ctypes.c_uint64),
    ]


class Params(ctypes.Structure):
    """struct io_uring_params: the argument of io_uring_setup(), filled in by the kernel."""

    _fields_ = [
        ("sq_entries", ctypes.c_uint32),
        ("cq_entries", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("sq_thread_cpu", ctypes.c_uint32),
        ("sq_thread_idle", ctypes.c_uint32),
        ("features", ctypes.c_uint32),
        ("wq_fd", ctypes.c_uint32),
        ("resv", ctypes.c_uint32 * 3),
        ("sq_off", SqOffsets),
        ("cq_off", CqOffsets),
    ]


class Timespec(ctypes.Structure):
    """struct __kernel_timespec."""

    _fields_ = [("tv_sec", ctypes.c_int64), ("tv_nsec", ctypes.c_int64)]

    @classmethod
    def of(cls, seconds: float) -> "Timespec":
        """The timespec of so many seconds (not negative)."""
        whole = int(seconds)
        return cls(whole, int((seconds - whole) * 1e9))


class GeteventsArg(ctypes.Structure):
    """struct io_uring_getevents_arg, the argument of io_uring_enter() with ENTER_EXT_ARG."""

    _fields_ = [
        ("sigmask", ctypes.c_uint64),
        ("sigmask_sz", ctypes.c_uint32),
        ("pad", ctypes.c_uint32),
        ("ts", ctypes.c_uint64),
    ]


class Iovec(ctypes.Structure):
    """struct iovec."""

    _fields_ = [("base", ctypes.c_uint64), ("len", ctypes.c_uint64)]


class RsrcRegister(ctypes.Structure):
    """struct io_uring_rsrc_register, the argument of REGISTER_BUFFERS2."""

    _fields_ = [
        ("nr", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("resv2", ctypes.c_uint64),
        ("data", ctypes.c_uint64),
        ("tags", ctypes.c_uint64),
    ]


class RsrcUpdate2(ctypes.Structure):
    """struct io_uring_rsrc_update2, the argument of REGISTER_BUFFERS_UPDATE."""

    _fields_ = [
        ("offset", ctypes.c_uint32),
        ("resv", ctypes.c_uint32),
        ("data", ctypes.c_uint64),
        ("tags", ctypes.c_uint64),
        ("nr", ctypes.c_uint32),
        ("resv2", ctypes.c_uint32),
    ]


class BufReg(ctypes.Structure):
    """struct io_uring_buf_reg, the argument of (UN)REGISTER_PBUF_RING."""

    _fields_ = [
        ("ring_addr", ctypes.c_uint64),
        ("ring_entries", ctypes.c_uint32),
        ("bgid", ctypes.c_uint16),
        ("pad", ctypes.c_uint16),
        ("resv", ctypes.c_uint64 * 3),
    ]


class RestrictionEntry(ctypes.Structure):
    """struct io_uring_restriction; `op` is the register_op or the sqe_op."""

    _fields_ = [
        ("opcode", ctypes.c_uint16),
        ("op", ctypes.c_uint8),
        ("resv", ctypes.c_uint8),
        ("resv2", ctypes.c_uint32 * 3),
    ]


# The entries of the rings are packed and unpacked far more often than any other structure:
# struct.Struct does one in a single call, where ctypes would take one for each field.
# opcode flags ioprio fd off addr len op_flags user_data buf personality splice_fd addr3 pad
SQE = struct.Struct("<BBHiQQIIQHHiQQ")
CQE = struct.Struct("<QiI")  # user_data res flags
# addr len bid. The last two bytes of an entry are not written: in entry 0 they are the tail.
BUF = struct.Struct("<QIH")
SQE_SIZE, CQE_SIZE, BUF_SIZE, BUF_TAIL_OFFSET = 64, 16, 16, 14

check_layout(SqOffsets, 40, head=0, flags=16, dropped=20, array=24, resv2=32)
check_layout(CqOffsets, 40, head=0, overflow=16, cqes=20, flags=24, resv2=32)
check_layout(Params, 120, features=20, wq_fd=24, sq_off=40, cq_off=80)
check_layout(Timespec, 16, tv_sec=0, tv_nsec=8)
check_layout(GeteventsArg, 24, sigmask=0, sigmask_sz=8, ts=16)
check_layout(Iovec, 16, base=0, len=8)
check_layout(RsrcRegister, 32, nr=0, flags=4, data=16, tags=24)
check_layout(RsrcUpdate2, 32, offset=0, data=8, tags=16, nr=24)
check_layout(BufReg, 40, ring_addr=0, ring_entries=8, bgid=12, resv=16)
check_layout(RestrictionEntry, 16, opcode=0, op=2, resv2=4)
if (SQE.size, CQE.size, BUF.size) != (SQE_SIZE, CQE_SIZE, BUF_TAIL_OFFSET):
    raise AssertionError(f"ring entries: {SQE.size}, {CQE.size}, {BUF.size} bytes")
