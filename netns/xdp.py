# SPDX-License-Identifier: GPL-2.0
"""The smallest XDP program there is, attached to a device for a while."""

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator

from netns.link import End

_NR_BPF = 321  # syscall_64.tbl
_PROG_LOAD, _LINK_CREATE = 5, 28  # enum bpf_cmd
_TYPE_XDP, _ATTACH_XDP = 6, 37  # enum bpf_prog_type, enum bpf_attach_type
DRIVER, GENERIC = 1 << 2, 1 << 1  # XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE, linux/if_link.h
# r0 = XDP_PASS; exit (struct bpf_insn: opcode, registers, offset, immediate)
_PASS = struct.pack("<BBhiBBhi", 0xB7, 0, 0, 2, 0x95, 0, 0, 0)

_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command: int, attr: bytes, what: str) -> int:
    padded = attr.ljust(128, b"\0")
    fd = _libc.syscall(ctypes.c_long(_NR_BPF), command, padded, len(padded))
    if fd < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return int(fd)


def load_pass() -> int:
    """Load a program that passes every frame: its descriptor. Raises OSError."""
    code, licence = ctypes.create_string_buffer(_PASS), ctypes.create_string_buffer(b"GPL")
    attr = struct.pack("<IIQQ", _TYPE_XDP, 2, ctypes.addressof(code), ctypes.addressof(licence))
    return _bpf(_PROG_LOAD, attr, "BPF_PROG_LOAD")


@contextlib.contextmanager
def attached(end: End, mode: int = 0) -> Iterator[None]:
    """Inside, a program sits on the device: in the driver, or before the stack (GENERIC).

    Without a mode it is the driver's business, if the driver knows about XDP. Raises OSError, or
    pyroute2's NetlinkError.
    """
    fd = load_pass()
    try:
        attach(end, fd, mode)
    finally:
        os.close(fd)  # the device holds the program itself
    try:
        yield
    finally:
        detach(end, mode)


@contextlib.contextmanager
def linked(end: End, mode: int = 0) -> Iterator[None]:
    """As attached(), by a BPF link and no netlink. Raises OSError."""
    fd = load_pass()
    try:
        attr = struct.pack("<IIII", fd, end.ifindex, _ATTACH_XDP, mode)
        with end.ns.entered():
            link = _bpf(_LINK_CREATE, attr, "BPF_LINK_CREATE")
    finally:
        os.close(fd)
    try:
        yield
    finally:
        os.close(link)


def attach(end: End, program: int, mode: int = 0) -> None:
    """Put a program on the device. Raises OSError, or pyroute2's NetlinkError."""
    end.set(xdp={"attrs": [("IFLA_XDP_FD", program), ("IFLA_XDP_FLAGS", mode)]})


def detach(end: End, mode: int = 0) -> None:
    """Take it off again."""
    attach(end, -1, mode)
