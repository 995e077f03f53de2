# SPDX-License-Identifier: GPL-2.0
"""Print what a card can do for the suite, and what it lacks.

As a program, of a guest's card: python3 -m lib.nic.show IFNAME [--probe]
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from lib import cachedir
from lib.nic import config, log, needs, probe, report, restore, safety, words
from lib.nic.config import Config
from lib.nic.device import Device
from lib.nic.lock import alone, holder
from lib.report.ktap import clean
from lib.say import say
from lib.trouble import Trouble


def show(wanted: Config, *, ask: bool, i_know: bool = False, file: Path | None = None) -> None:
    """Print the report; `ask` its driver for zctap, write it as JSON, too. Raises Trouble."""
    with Device(wanted.netif) as device:
        try:
            asked = _probe(device, i_know=i_know) if ask else ""
            found = report.gather(device, journal=_left(device), zctap=asked)
        except OSError as error:
            raise Trouble(f"{wanted.netif}: {error.strerror or error}") from error
    lacks = [*_addresses(wanted, found), *needs.lacks(found)]
    for line in words.lines(found, lacks):
        print(clean(line))
    if os.geteuid() != 0:
        print("root would add: --probe and --restore; all else is here")
    if file:
        content = {
            "report": found.as_json(),
            "missing": [asdict(lack) for lack in lacks],
            "config": {name: str(value) for name, value in vars(wanted).items() if value},
        }
        file.write_text(json.dumps(content, indent=1) + "\n")


def _probe(device: Device, *, i_know: bool) -> str:
    if os.geteuid() != 0:
        raise Trouble("--probe needs root: it binds a queue of the card")
    safety.check(device, i_know=i_know)
    with alone(device.ifindex, device.ifname()):
        return probe.ask(device)


def _left(device: Device) -> str:
    """What there is to say of a journal; "" if there is none."""
    path = restore.left(cachedir.root() / "nic", device)
    if path is None:
        return ""
    pid = holder(device.ifindex)
    if pid is not None:
        return f"in use by a run, process {pid or '?'}"
    # Only who is alone with it may read it all.
    head = log.header(path) or {}
    return f"an earlier run, process {head.get('pid', '?')}, has left settings: see --restore"


def _addresses(wanted: Config, found: report.Report) -> list[needs.Lack]:
    """Addresses that the configuration has, and the card has not."""
    there = {address.partition("/")[0] for address in found.link.addresses}
    ours = [pair[0] for pair in (wanted.v4, wanted.v6) if pair]
    return [
        needs.Lack(
            needs.ALL,
            f"LOCAL_V{address.version} ({address}) is not an address of it",
            f"ip address add {address}/PREFIX dev {wanted.netif}",
        )
        for address in ours
        if str(address) not in there
    ]


def main(argv: list[str]) -> int:
    """Show it; return the exit status."""
    try:
        wanted = config.read({}, nic=argv[0])
        assert wanted
        show(wanted, ask="--probe" in argv[1:])
    except Trouble as error:
        say(str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
