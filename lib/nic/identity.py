# SPDX-License-Identifier: GPL-2.0
"""Which card a journal is about, and where that is: cache folder "nic", a file for each card.

A card is its number in a network namespace of a boot: none of the three is used twice, unless
somebody asks for a number. Driver, bus and address tell that then.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path

from lib.nic import log, netns
from lib.nic.device import Device
from lib.nic.journal import VERSION

SUFFIX = ".journal"


@dataclass(frozen=True)
class Identity:
    """A card. `machine`: homes, and the cache in them, may be shared; `mac`: the permanent one."""

    machine: str
    boot: str
    netns: int
    ifindex: int
    ifname: str
    driver: str
    bus: str
    mac: str

    def path(self, folder: Path) -> Path:
        """Its journal."""
        return folder / f"{self.boot}-{self.netns:x}-{self.ifindex}{SUFFIX}"

    def same_card(self, other: Identity) -> bool:
        """Whether what has this number is still that card, whatever it is called."""
        return (self.driver, self.bus, self.mac) == (other.driver, other.bus, other.mac)

    def header(self, pid: int) -> log.Line:
        """The first line of its journal."""
        return {"ev": "card", "version": VERSION, "pid": pid} | asdict(self)


def identity(device: Device) -> Identity:
    """Which card that is. Raises OSError."""
    link, driver = device.link(), device.driver()
    return Identity(
        machine=netns.machine(),
        boot=netns.boot_id(),
        netns=device.cookie,
        ifindex=device.ifindex,
        ifname=link.ifname,
        driver=driver.name,
        bus=driver.bus,
        mac=link.mac,
    )


def of_header(header: log.Line) -> Identity | None:
    """Which card a journal is about; None if this program has not written it."""
    if header.get("version") != VERSION:
        return None
    try:
        return Identity(**{field.name: header[field.name] for field in fields(Identity)})
    except KeyError:
        return None
