# SPDX-License-Identifier: GPL-2.0
"""A driver's counters, channels and offloads, as ethtool(8) has them: lib/nic on an End."""

import contextlib
import functools
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from lib.nic import ethtool
from lib.nic.ioctl import Ask, ask
from netns.link import End

_GTSO, _STSO = 0x1E, 0x1F
_SWITCHES = {"tx-checksum": 0x17, "sg": 0x19, "tso": _STSO, "gso": 0x24, "gro": 0x2C}


@contextlib.contextmanager
def _asking(end: End) -> Iterator[Ask]:
    with end.ns.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        yield functools.partial(ask, sock, end.ifname)


def statistics(end: End) -> dict[str, int]:
    """Name -> value. Raises OSError (EOPNOTSUPP for a driver without any)."""
    with _asking(end) as command:
        return ethtool.statistics(command)


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


def has_tso(end: End) -> bool:
    """Whether TCP hands the device frames of up to 64 KiB."""
    data = bytearray(struct.pack("<II", _GTSO, 0))
    with _asking(end) as command:
        command(data)
    return any(data[4:])


def set_tso(end: End, on: bool) -> None:
    """Let TCP hand the device frames of up to 64 KiB, or only single segments."""
    with _asking(end) as command:
        command(bytearray(struct.pack("<II", _STSO, on)))


def set_offload(end: End, name: str, on: bool) -> None:
    """Switch tx-checksum, sg, tso, gso or gro; what depends on it goes with it."""
    with _asking(end) as command:
        command(bytearray(struct.pack("<II", _SWITCHES[name], on)))


def set_channels(end: End, rx: int, tx: int) -> None:
    """Use that many RX and TX queues of those that the device has. Raises OSError."""
    with _asking(end) as command:
        ethtool.set_channels(command, ethtool.Channels(rx=rx, tx=tx))


def channels(end: End) -> tuple[int, int]:
    """RX and TX queues in use."""
    with _asking(end) as command:
        now, _ = ethtool.channels(command)
    return now.rx, now.tx
