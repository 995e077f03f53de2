# SPDX-License-Identifier: GPL-2.0
"""SIOCETHTOOL, the ioctl behind ethtool(8): a command is a structure that the kernel fills.

Everything above it takes a function that passes a command to one interface, so that tests can play
the kernel, and a namespace is a matter of the socket alone.
"""

import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable

# Passes a command (a structure of uapi/linux/ethtool.h, native byte order), which the answer
# replaces; returns what the ioctl returns. Raises OSError: EOPNOTSUPP if the driver has no such
# command, EPERM if it takes CAP_NET_ADMIN, ENODEV if the interface is gone.
Ask = Callable[[bytearray], int]

STATS, FEATURES = 1, 4  # enum ethtool_stringset: ETH_SS_STATS, ETH_SS_FEATURES

_SIOCETHTOOL = 0x8946  # uapi/linux/sockios.h
_GSTRINGS, _GSSET_INFO = 0x1B, 0x37
_NAME_LENGTH = 32  # ETH_GSTRING_LEN
_IFNAMSIZ = 16


def ask(sock: socket.socket, ifname: str, command: bytearray) -> int:
    """Pass a command to an interface of the socket's namespace; as Ask."""
    name = os.fsencode(ifname)
    if len(name) >= _IFNAMSIZ:  # cut off, it might be another's
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
    pointer = ctypes.addressof(ctypes.c_char.from_buffer(command))
    # A bytearray: for bytes ioctl() would return them, not the result.
    request = bytearray(struct.pack("16sQ16x", name, pointer))
    return int(fcntl.ioctl(sock, _SIOCETHTOOL, request))


def strings(ask: Ask, kind: int) -> list[str]:
    """The names in a set of strings (STATS, FEATURES). Raises OSError."""
    info = bytearray(struct.pack("<IIQI", _GSSET_INFO, 0, 1 << kind, 0))
    ask(info)
    (count,) = struct.unpack_from("<I", info, 16)
    answer = bytearray(struct.pack("<III", _GSTRINGS, kind, count) + bytes(count * _NAME_LENGTH))
    ask(answer)
    names = (answer[12 + at * _NAME_LENGTH :][:_NAME_LENGTH] for at in range(count))
    return [name.split(b"\0")[0].decode(errors="replace") for name in names]
