# SPDX-License-Identifier: GPL-2.0
"""Which network namespace this is, and which boot of which machine."""

import os
import socket
import struct
from pathlib import Path

_SO_NETNS_COOKIE = 71  # asm-generic/socket.h, since 5.14
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def cookie(sock: socket.socket) -> int:
    """The number of the socket's network namespace. No other one of this boot ever has it, while
    the inode of one that is gone is used again. Raises OSError.
    """
    (number,) = struct.unpack("<Q", sock.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8))
    return int(number)


def boot_id() -> str:
    """A UUID, new with each boot. Raises OSError."""
    return _BOOT_ID.read_text().strip()


def machine() -> str:
    """The machine's name: homes, and with them the cache, may be shared by several."""
    return os.uname().nodename


def here() -> int:
    """The cookie of the namespace that the calling thread is in. Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return cookie(sock)
