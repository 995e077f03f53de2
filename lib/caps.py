# SPDX-License-Identifier: GPL-2.0
"""Giving up capabilities: for a while in the calling thread, or for good in a whole process."""

import contextlib
import ctypes
import os
from collections.abc import Iterator

CAP_NET_ADMIN = 12  # include/uapi/linux/capability.h
CAP_IPC_LOCK = 14
_VERSION_3 = 0x20080522
_NR_CAPGET, _NR_CAPSET = 125, 126  # syscall_64.tbl

_PR_SET_KEEPCAPS = 8  # linux/prctl.h
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h
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
    _check(_libc.syscall(ctypes.c_long(number), ctypes.byref(header), data), "capget/capset")


def _check(result: int, what: str) -> None:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


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


def become(uid: int, *keep: int) -> None:
    """Turn the process into that user's, with these capabilities (below 32) only; no way back."""
    _check(_libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0), "PR_SET_KEEPCAPS")
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    data = (_Data * 2)()
    data[0].permitted = data[0].effective = sum(1 << capability for capability in set(keep))
    _call(_NR_CAPSET, data)


def own_user_namespace(*, network: bool = False) -> None:
    """Move the process into a new user namespace, as its root: all capabilities, but only there.

    network: into a new network namespace as well, one that belongs to it.
    OSError: EINVAL on a kernel without CONFIG_USER_NS, EPERM or ENOSPC where it is forbidden.
    """
    flags = _CLONE_NEWUSER | (_CLONE_NEWNET if network else 0)
    _check(_libc.unshare(flags), "unshare(CLONE_NEWUSER)")
    for name, text in (("setgroups", "deny"), ("uid_map", "0 0 1"), ("gid_map", "0 0 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
