# SPDX-License-Identifier: GPL-2.0
"""What a card is and what it can do: asked, and nothing changed."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from lib.nic import ethtool, features, flows, rss, safety
from lib.nic.device import Device, Link
from lib.nic.ethtool import Channels, Driver, Rings
from lib.nic.features import Feature
from lib.nic.split import Split

# Those that have a say in what a receiver sees, by the kernel's names (net/ethtool/common.c).
OFFLOADS = (
    *("rx-checksum", "rx-gro", "rx-gro-hw", "rx-lro", "rx-hashing"),
    *("tx-scatter-gather", "tx-tcp-segmentation", "tx-tcp6-segmentation"),
)

T = TypeVar("T")


@dataclass(frozen=True)
class Report:
    """None: the driver, or the kernel, does not have that.

    channels, rings: what is, and the most there can be. table: RSS's. rules: how many flow rules
    there are; rules_most: how many there can be, 0 if that is not said. dangers: why one should
    leave it alone. journal: what a killed run has left, for people. zctap: what asking the driver
    has brought, "" if it was not asked.
    """

    link: Link
    driver: Driver
    channels: tuple[Channels, Channels] | None
    rings: tuple[Rings, Rings] | None
    split: Split | None
    table: list[int] | None
    ntuple: Feature | None
    rules: int | None
    rules_most: int
    offloads: dict[str, bool]
    dangers: list[str]
    journal: str = ""
    zctap: str = ""

    def as_json(self) -> dict[str, Any]:
        """For json.dumps()."""
        return asdict(self)


def gather(device: Device, *, journal: str = "", zctap: str = "") -> Report:
    """Ask all there is to ask; takes no root. Raises OSError if the interface goes meanwhile."""
    known = _maybe(lambda: features.features(device.ask)) or {}
    rules = _maybe(lambda: flows.locations(device.ask))
    return Report(
        link=device.link(),
        driver=device.driver(),
        channels=_maybe(lambda: ethtool.channels(device.ask)),
        rings=_maybe(lambda: ethtool.rings(device.ask)),
        split=_maybe(device.split),
        table=_maybe(lambda: rss.table(device.ask)) or None,
        ntuple=known.get(features.NTUPLE) if rules is not None else None,
        rules=None if rules is None else len(rules[0]),
        rules_most=rules[1] if rules else 0,
        offloads={name: known[name].active for name in OFFLOADS if name in known},
        dangers=safety.dangers(device),
        journal=journal,
        zctap=zctap,
    )


def _maybe(ask: Callable[[], T]) -> T | None:
    try:
        return ask()
    except OSError as error:
        if error.errno == errno.ENODEV:
            raise
        # Mostly EOPNOTSUPP, but drivers say EINVAL, too, and a card that is down ENETDOWN.
        return None
