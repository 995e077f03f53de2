# SPDX-License-Identifier: GPL-2.0
"""Driver, queues, ring sizes and counters of an interface, by ioctl (uapi/linux/ethtool.h).

Each function takes an Ask (lib/nic/ioctl.py), and raises OSError as that does.
"""

import struct
from dataclasses import astuple, dataclass, fields

from lib.nic.ioctl import STATS, Ask, strings

_GDRVINFO, _GLINK, _GSTATS = 0x03, 0x0A, 0x1D
_GRINGPARAM, _SRINGPARAM = 0x10, 0x11
_GCHANNELS, _SCHANNELS = 0x3C, 0x3D
_DRVINFO = struct.Struct("<I32s32s32s32s32s12s5I")  # struct ethtool_drvinfo, 196 bytes


@dataclass(frozen=True)
class Driver:
    """What the driver says of itself; "" for what it does not say. `bus`: a PCI address, say."""

    name: str
    version: str
    firmware: str
    bus: str


@dataclass(frozen=True)
class Channels:
    """Numbers of queues: of RX alone, of TX alone, for other things, and of pairs of RX and TX."""

    rx: int = 0
    tx: int = 0
    other: int = 0
    combined: int = 0

    @property
    def receiving(self) -> int:
        """How many queues receive."""
        return self.rx + self.combined


@dataclass(frozen=True)
class Rings:
    """Descriptors in each queue's ring; 0 where the card has no such ring."""

    rx: int = 0
    mini: int = 0
    jumbo: int = 0
    tx: int = 0


def driver(ask: Ask) -> Driver:
    """ETHTOOL_GDRVINFO. The kernel answers for drivers that do not."""
    answer = bytearray(struct.pack("<I", _GDRVINFO).ljust(_DRVINFO.size, b"\0"))
    ask(answer)
    parts: tuple[bytes, ...] = _DRVINFO.unpack(answer)[1:5]
    words = (field.split(b"\0")[0].decode(errors="replace") for field in parts)
    return Driver(*("" if word == "N/A" else word for word in words))


def _most_and_now(ask: Ask, command: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """struct ethtool_channels and ethtool_ringparam: four limits, then what is set."""
    answer = bytearray(struct.pack("<I32x", command))
    ask(answer)
    numbers = struct.unpack("<8I", answer[4:])
    return numbers[:4], numbers[4:]


def channels(ask: Ask) -> tuple[Channels, Channels]:
    """ETHTOOL_GCHANNELS: those in use, and the most there can be."""
    most, now = _most_and_now(ask, _GCHANNELS)
    return Channels(*now), Channels(*most)


def set_channels(ask: Ask, wanted: Channels) -> None:
    """ETHTOOL_SCHANNELS. EINVAL: more than there can be, none left for RX or TX, or an RSS table
    that somebody has set names a queue that would go.
    """
    ask(bytearray(struct.pack("<I16x4I", _SCHANNELS, *astuple(wanted))))


def rings(ask: Ask) -> tuple[Rings, Rings]:
    """ETHTOOL_GRINGPARAM: the sizes, and the largest there can be."""
    most, now = _most_and_now(ask, _GRINGPARAM)
    return Rings(*now), Rings(*most)


def set_rings(ask: Ask, wanted: Rings) -> None:
    """ETHTOOL_SRINGPARAM. The driver may round up; ask again for what it made of it."""
    ask(bytearray(struct.pack("<I16x4I", _SRINGPARAM, *astuple(wanted))))


def carrier(ask: Ask) -> bool:
    """ETHTOOL_GLINK: whether it is up and has a carrier. EOPNOTSUPP: the driver does not tell."""
    answer = bytearray(struct.pack("<I4x", _GLINK))
    ask(answer)
    return bool(struct.unpack("<II", answer)[1])


def statistics(ask: Ask) -> dict[str, int]:
    """ETHTOOL_GSTATS: counter -> value. EOPNOTSUPP for a driver without any."""
    names = strings(ask, STATS)
    values = bytearray(struct.pack("<II", _GSTATS, len(names)) + bytes(8 * len(names)))
    ask(values)
    return dict(zip(names, struct.unpack_from(f"<{len(names)}Q", values, 8), strict=True))


def as_dict(counts: Channels | Rings) -> dict[str, int]:
    """Name -> number, for JSON."""
    return {field.name: getattr(counts, field.name) for field in fields(counts)}
