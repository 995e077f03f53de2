# SPDX-License-Identifier: GPL-2.0
"""Giving up a capability for a while, in the calling thread only (capset(2))."""

import contextlib
import ctypes
import os
from collections.abc import Iterator

CAP_NET_ADMIN = 12  # include/uapi/linux/capability.h
CAP_IPC_LOCK = 14
_VERSION_3 = 0x20080522
_NR_CAPGET, _NR_CAPSET = 125, 126  # syscall_64.tbl

_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Data(ctypes.Structure):
    _fields_ = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


def _call(number: int, data: "ctypes.Array[_Data]") -> None:
    header = _Header(_VERSION_3, 0)
    if _libc.syscall(ctypes.c_long(number), ctypes.byref(header), data) < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"capget/capset: {os.strerror(error)}")


@contextlib.contextmanager
def without(capability: int) -> Iterator[None]:
    """Inside, `capability` (below 32) is not effective in this thread; given back afterwards."""
    data = (_Data * 2)()
    _call(_NR_CAPGET, data)
    before = data[0].effective
    data[0].effective = before & ~(1 << capability)
    _call(_NR_CAPSET, data)
    try:
        yield
    finally:
        data[0].effective = before
        _call(_NR_CAPSET, data)
