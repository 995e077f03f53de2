# SPDX-License-Identifier: GPL-2.0
"""The smallest XDP program there is, attached to a device for a while."""

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator

from netns.link import End

_NR_BPF = 321  # syscall_64.tbl
_PROG_LOAD, _TYPE_XDP = 5, 6  # enum bpf_cmd, enum bpf_prog_type
DRIVER, GENERIC = 1 << 2, 1 << 1  # XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE, linux/if_link.h
# r0 = XDP_PASS; exit (struct bpf_insn: opcode, registers, offset, immediate)
_PASS = struct.pack("<BBhiBBhi", 0xB7, 0, 0, 2, 0x95, 0, 0, 0)

_libc = ctypes.CDLL(None, use_errno=True)


def load_pass() -> int:
    """Load a program that passes every frame: its descriptor. Raises OSError."""
    code, licence = ctypes.create_string_buffer(_PASS), ctypes.create_string_buffer(b"GPL")
    attr = struct.pack(
        "<IIQQ", _TYPE_XDP, 2, ctypes.addressof(code), ctypes.addressof(licence)
    ).ljust(128, b"\0")
    fd = _libc.syscall(ctypes.c_long(_NR_BPF), _PROG_LOAD, attr, len(attr))
    if fd < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"BPF_PROG_LOAD: {os.strerror(error)}")
    return int(fd)


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


def attach(end: End, program: int, mode: int = 0) -> None:
    """Put a program on the device. Raises OSError, or pyroute2's NetlinkError."""
    end.set(xdp={"attrs": [("IFLA_XDP_FD", program), ("IFLA_XDP_FLAGS", mode)]})


def detach(end: End, mode: int = 0) -> None:
    """Take it off again."""
    attach(end, -1, mode)
