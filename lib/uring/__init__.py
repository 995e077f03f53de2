# SPDX-License-Identifier: GPL-2.0
"""io_uring through ctypes: no compiled code, no liburing, nothing of zero-copy receive.

with Ring(8) as ring:
    cqe = ring.run(op.nop())
    ring.push(op.recv(sock.fileno(), buffer))
    cqes = ring.wait(1, timeout=2.0)
"""

from lib.uring import op
from lib.uring.abi import Cancel, CqeFlag, RecvSend, Register, Setup, SqeFlag
from lib.uring.buffers import BufferPool, BufferRing
from lib.uring.memory import PAGE, Memory, address_of
from lib.uring.op import Sqe
from lib.uring.ring import Cqe, Ring

__all__ = [
    "PAGE",
    "BufferPool",
    "BufferRing",
    "Cancel",
    "Cqe",
    "CqeFlag",
    "Memory",
    "RecvSend",
    "Register",
    "Ring",
    "Setup",
    "Sqe",
    "SqeFlag",
    "address_of",
    "op",
]
