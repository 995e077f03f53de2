# SPDX-License-Identifier: GPL-2.0
"""A driver's own counters, as `ethtool -S` shows them (include/uapi/linux/ethtool.h)."""

import ctypes
import fcntl
import socket
import struct

from netns.link import End

_SIOCETHTOOL = 0x8946
_GSTRINGS, _GSTATS, _STSO, _GSSET_INFO = 0x1B, 0x1D, 0x1F, 0x37
_STATS_SET, _NAME_LENGTH = 1, 32  # ETH_SS_STATS, ETH_GSTRING_LEN


def _ask(sock: socket.socket, ifname: str, command: bytearray) -> None:
    pointer = ctypes.addressof(ctypes.c_char.from_buffer(command))
    fcntl.ioctl(sock, _SIOCETHTOOL, struct.pack("16sQ16x", ifname.encode(), pointer))


def statistics(end: End) -> dict[str, int]:
    """Name -> value. Raises OSError (EOPNOTSUPP for a driver without any)."""
    with end.ns.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        info = bytearray(struct.pack("<IIQI", _GSSET_INFO, 0, 1 << _STATS_SET, 0))
        _ask(sock, end.ifname, info)
        (count,) = struct.unpack_from("<I", info, 16)
        strings = bytearray(struct.pack("<III", _GSTRINGS, _STATS_SET, count))
        strings.extend(bytes(count * _NAME_LENGTH))
        _ask(sock, end.ifname, strings)
        values = bytearray(struct.pack("<II", _GSTATS, count) + bytes(8 * count))
        _ask(sock, end.ifname, values)
    names = [
        strings[12 + at * _NAME_LENGTH :][:_NAME_LENGTH].split(b"\0")[0].decode()
        for at in range(count)
    ]
    return dict(zip(names, struct.unpack_from(f"<{count}Q", values, 8), strict=True))


def drops(end: End) -> int:
    """Frames the device dropped on receive, wherever it counts them (DEV-4)."""
    own = sum(value for name, value in statistics(end).items() if "drop" in name)
    return own + end.stats()["rx_dropped"]


def set_tso(end: End, on: bool) -> None:
    """Let TCP hand the device frames of up to 64 KiB, or only single segments."""
    with end.ns.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        _ask(sock, end.ifname, bytearray(struct.pack("<II", _STSO, on)))
