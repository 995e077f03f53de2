# SPDX-License-Identifier: GPL-2.0
"""The smallest XDP program there is, attached to a device for a while."""

import contextlib
import os
import struct
from collections.abc import Iterator

from netns import bpf
from netns.link import End

_LINK_CREATE = 28  # enum bpf_cmd
_TYPE_XDP, _ATTACH_XDP = 6, 37  # enum bpf_prog_type, enum bpf_attach_type
DRIVER, GENERIC = 1 << 2, 1 << 1  # XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE, linux/if_link.h
# r0 = XDP_PASS; exit (struct bpf_insn: opcode, registers, offset, immediate)
_PASS = struct.pack("<BBhiBBhi", 0xB7, 0, 0, 2, 0x95, 0, 0, 0)


def load_pass() -> int:
    """Load a program that passes every frame: its descriptor. Raises OSError."""
    return bpf.load(_TYPE_XDP, _PASS)


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
            link = bpf.call(_LINK_CREATE, attr, "BPF_LINK_CREATE")
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
