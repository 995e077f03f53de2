# SPDX-License-Identifier: GPL-2.0
"""A card with RSS and flow rules, played by a file, so that it outlives who changes it.

It answers ethtool's commands as the kernel's net/ethtool/ioctl.c does, as far as settings depend on
each other: RSS follows the number of queues until somebody sets a table, which then keeps queues
from going away; without n-tuple filters there are no rules.
"""

import ctypes
import errno
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lib.nic import ethtool
from lib.nic.device import Device, Link
from lib.nic.flows import ANY, Rxnfc
from lib.nic.rss import spread
from lib.nic.split import Split

TABLE = 8  # entries of the RSS table
RULES = 16
FRESH: dict[str, Any] = {
    "channels": [0, 0, 1, 4],  # rx, tx, other, combined
    "rings": [256, 0, 0, 512],
    "table": None,  # the default
    "ntuple": False,
    "rules": {},
    "split": [1, 256],
}


class FakeDevice(Device):
    """What lib.nic.device.Device has. `step` is called before and after each change."""

    ifindex, cookie = 7, 1

    def __init__(self, file: Path, step: Callable[[], None] = lambda: None) -> None:
        self.file, self.step = file, step
        self.gone = False
        self.insists = False  # on choosing the locations of rules
        if not file.exists():
            self.save(dict(FRESH))

    def state(self) -> dict[str, Any]:
        """What the card is set to."""
        state: dict[str, Any] = json.loads(self.file.read_text())
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Set all of it, as a whole or not at all."""
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(state))
        new.rename(self.file)

    def change(self, **changes: Any) -> None:
        """Change some of it."""
        self.step()
        self.save(self.state() | changes)
        self.step()

    def ifname(self) -> str:
        """As Device."""
        if self.gone:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        return "fake0"

    def link(self) -> Link:
        """As Device."""
        return Link(self.ifname(), 7, "", "02:00:00:00:00:07", 1500, 9000, True, True, "", 0, ())

    def driver(self) -> ethtool.Driver:
        """As Device."""
        return ethtool.Driver("fake", "1", "", "0000:00:07.0")

    def split(self) -> Split:
        """As Device."""
        self.ifname()
        state, threshold = self.state()["split"]
        return Split(state, threshold, most=1023)

    def set_split(self, wanted: Split) -> None:
        """As Device."""
        self.ifname()
        self.change(split=[wanted.state, wanted.threshold])

    def queues(self) -> int:
        """How many receive."""
        channels = self.state()["channels"]
        return int(channels[0] + channels[3])

    def table(self) -> list[int]:
        """The RSS table."""
        return self.state()["table"] or spread(TABLE, range(self.queues()))

    def ask(self, command: bytearray) -> int:
        """As Device."""
        self.ifname()
        (number,) = struct.unpack_from("<I", command)
        handler = getattr(self, f"_x{number:02x}", None)
        if handler is None:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        handler(command)
        return 0

    def _x3c(self, command: bytearray) -> None:
        struct.pack_into("<8I", command, 4, 0, 0, 1, 8, *self.state()["channels"])

    def _x3d(self, command: bytearray) -> None:
        wanted = list(struct.unpack_from("<4I", command, 20))
        table = self.state()["table"]
        if not 0 < wanted[3] <= 8 or wanted[:3] != [0, 0, 1]:
            raise OSError(errno.EINVAL, "channels")
        if table and max(table) >= wanted[3]:
            raise OSError(errno.EINVAL, "the table names a queue that would go")
        self.change(channels=wanted)

    def _x10(self, command: bytearray) -> None:
        struct.pack_into("<8I", command, 4, 4096, 0, 0, 4096, *self.state()["rings"])

    def _x11(self, command: bytearray) -> None:
        sizes = struct.unpack_from("<4I", command, 20)
        self.change(rings=[size and 1 << (size - 1).bit_length() for size in sizes])

    def _x2d(self, command: bytearray) -> None:
        struct.pack_into("<Q", command, 8, self.queues())

    def _x46(self, command: bytearray) -> None:
        (asked,) = struct.unpack_from("<I", command, 8)
        struct.pack_into("<I", command, 8, TABLE)
        if asked:
            struct.pack_into(f"<{TABLE}I", command, 24, *self.table())

    def _x47(self, command: bytearray) -> None:
        (size,) = struct.unpack_from("<I", command, 8)
        table = list(struct.unpack_from(f"<{size}I", command, 24)) or None
        if size not in (0, TABLE) or max(table or [0]) >= self.queues():
            raise OSError(errno.EINVAL, "table")
        self.change(table=table)

    def _x37(self, command: bytearray) -> None:
        struct.pack_into("<I", command, 16, 1)

    def _x1b(self, command: bytearray) -> None:
        command[12:28] = b"rx-ntuple-filter"

    def _x3a(self, command: bytearray) -> None:
        struct.pack_into("<4I", command, 8, 1, *(2 * [int(self.state()["ntuple"])]), 0)

    def _x3b(self, command: bytearray) -> None:
        on = bool(struct.unpack_from("<2I", command, 8)[1])
        self.change(ntuple=on, rules=self.state()["rules"] if on else {})

    def _x2e(self, command: bytearray) -> None:
        size = RULES | (0x80000000 if self.insists else 0)
        struct.pack_into("<Q", command, 8, size)
        struct.pack_into("<I", command, 184, len(self.state()["rules"]))

    def _x30(self, command: bytearray) -> None:
        rules = sorted(int(at) for at in self.state()["rules"])
        struct.pack_into(f"<{len(rules)}I", command, 188, *rules)

    def _x2f(self, command: bytearray) -> None:
        (location,) = struct.unpack_from("<I", command, 176)
        rule = self.state()["rules"].get(str(location))
        if rule is None:
            raise OSError(errno.ENOENT, "no rule there")
        command[16:184] = bytes.fromhex(rule)

    def _x32(self, command: bytearray) -> None:
        state, request = self.state(), Rxnfc.from_buffer_copy(command)
        location = request.fs.location
        if not state["ntuple"] or (location == ANY) != self.insists:
            raise OSError(errno.EINVAL, "rule")
        if location == ANY:
            location = min(set(range(RULES)) - {int(at) for at in state["rules"]})
        request.fs.location = location
        command[:192] = bytes(request)
        spec = bytes(ctypes.string_at(ctypes.byref(request.fs), 168)).hex()
        self.change(rules=state["rules"] | {str(location): spec})

    def _x31(self, command: bytearray) -> None:
        (location,) = struct.unpack_from("<I", command, 176)
        rules = self.state()["rules"]
        if str(location) not in rules:
            raise OSError(errno.ENOENT, "no rule there")
        del rules[str(location)]
        self.change(rules=rules)
