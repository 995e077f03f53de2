# SPDX-License-Identifier: GPL-2.0
"""Changes of a card, for tests of what becomes of them."""

import os
import signal
from pathlib import Path
from typing import Any

from lib.nic import ethtool, restore
from lib.nic.card import Card, Settings
from lib.nic.device import Device
from lib.nic.flows import Flow
from lib.nic.identity import identity
from tests.nic.fake import FRESH, FakeDevice

QUEUES = 4  # of a veth
OURS = Flow(4, 1, dst="198.18.0.2", dst_port=5001)
THEIRS = Flow(6, 0, dst_port=22)
# A card that somebody has set up, and one that is as it came.
STARTS = {
    "fresh": FRESH,
    "used": FRESH
    | {"table": [3, 1, 2, 3, 3, 3, 3, 3], "ntuple": True, "split": [2, 512]}
    | {"rules": {"0": bytes(THEIRS.spec(0)).hex()}},
}


def begin(folder: Path, device: Any) -> Settings:
    return Settings(device, restore.write_header(folder, identity(device)))


def set_up(card: Settings) -> None:
    card.set_channels(3)
    card.spread_away_from(1)
    card.set_rings(rx=1000)
    card.split_headers()
    card.steer(OURS)


def left_behind(folder: Path, device: FakeDevice) -> Path:
    """All is changed, and the process has gone."""
    card = begin(folder, device)
    set_up(card)
    card.journal.log.close()
    return card.journal.log.path


def channels(ifname: str) -> ethtool.Channels:
    """Queues in use."""
    with Device(ifname) as device:
        return ethtool.channels(device.ask)[0]


def die_with(name: str, queues: int = 2) -> None:
    """Change the queues of an interface, in a process that is killed then."""
    pid = os.fork()
    if not pid:
        try:
            Card(name).set_channels(queues)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
