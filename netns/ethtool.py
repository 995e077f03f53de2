# SPDX-License-Identifier: GPL-2.0
"""A driver's counters, channels and offloads, as ethtool(8) has them (uapi/linux/ethtool.h)."""

import ctypes
import fcntl
import socket
import struct
from pathlib import Path

from netns.link import End

_SIOCETHTOOL = 0x8946
_GSTRINGS, _GSTATS, _STSO, _GSSET_INFO = 0x1B, 0x1D, 0x1F, 0x37
_GCHANNELS, _SCHANNELS = 0x3C, 0x3D
_SWITCHES = {"tx-checksum": 0x17, "sg": 0x19, "tso": _STSO, "gso": 0x24, "gro": 0x2C}
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
    """Frames the device dropped on receive, wherever it counts them (DEV-4).

    Tests ask this over and over: no netlink socket, which takes longer than all the rest.
    """
    with end.ns.entered():
        own = sum(value for name, value in statistics(end).items() if "drop" in name)
        lines = Path("/proc/thread-self/net/dev").read_text().splitlines()
    # bytes packets errs drop ..., of what was received
    counts = [
        line.split(":")[1].split() for line in lines if line.strip().startswith(end.ifname + ":")
    ]
    return own + sum(int(count[3]) for count in counts)


def set_tso(end: End, on: bool) -> None:
    """Let TCP hand the device frames of up to 64 KiB, or only single segments."""
    with end.ns.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        _ask(sock, end.ifname, bytearray(struct.pack("<II", _STSO, on)))


def set_offload(end: End, name: str, on: bool) -> None:
    """Switch tx-checksum, sg, tso, gso or gro; what depends on it goes with it."""
    with end.ns.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        _ask(sock, end.ifname, bytearray(struct.pack("<II", _SWITCHES[name], on)))


def set_channels(end: End, rx: int, tx: int) -> None:
    """Use that many RX and TX queues of those that the device has. Raises OSError."""
    with end.ns.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        counts = (rx, tx, 0, 0)
        _ask(sock, end.ifname, bytearray(struct.pack("<I8I", _SCHANNELS, 0, 0, 0, 0, *counts)))


def channels(end: End) -> tuple[int, int]:
    """RX and TX queues in use."""
    with end.ns.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answer = bytearray(struct.pack("<I", _GCHANNELS) + bytes(32))
        _ask(sock, end.ifname, answer)
    _, _, _, _, _, rx, tx, _, _ = struct.unpack("<9I", answer)
    return rx, tx
