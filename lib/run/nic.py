# SPDX-License-Identifier: GPL-2.0
"""`nic`: what a network card can do for the suite; and putting back what a killed run has left."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict

from lib import cachedir
from lib.nic import config, log, needs, probe, report, restore, safety, words
from lib.nic.config import Config
from lib.nic.device import Device
from lib.nic.lock import alone, holder
from lib.nic.restore import Restored
from lib.report.ktap import clean
from lib.run.options import Options
from lib.run.suite import DEFAULT, ROOT
from lib.say import say
from lib.trouble import Trouble


def run(options: Options) -> int:
    """Print the report, or restore: then 1 if not all is as it was. Raises Trouble."""
    if options.nic.restore:
        return _restore(options)
    wanted = _config(options)
    with Device(wanted.netif) as device:
        try:
            asked = _probe(device, options) if options.nic.probe else ""
            found = report.gather(device, journal=_left(device), zctap=asked)
        except OSError as error:
            raise Trouble(f"{wanted.netif}: {error.strerror or error}") from error
    lacks = [*_addresses(wanted, found), *needs.lacks(found)]
    for line in words.lines(found, lacks):
        print(clean(line))
    if os.geteuid() != 0:
        print("root would add: --probe and --restore; all else is here")
    if options.json:
        content = {
            "report": found.as_json(),
            "missing": [asdict(lack) for lack in lacks],
            "config": {name: str(value) for name, value in vars(wanted).items() if value},
        }
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    return 0


def _config(options: Options) -> Config:
    """The card that is named. Raises Trouble if none is, or the configuration makes no sense."""
    names = [name for _, name in socket.if_nameindex()]
    found = config.read(
        os.environ,
        ROOT / DEFAULT / config.FILE,
        nic=options.paths[0] if options.paths else "",
        remote=options.nic.remote,
        # On the command line it may be one that is gone, and whose journal is not.
        interfaces=None if options.paths else names,
    )
    if found is None:
        there = ", ".join(sorted(names))
        raise Trouble(f"'nic' wants an interface (or NETIF, see docs/nic.md); there are {there}")
    return found


def _probe(device: Device, options: Options) -> str:
    if os.geteuid() != 0:
        raise Trouble("--probe needs root: it binds a queue of the card")
    safety.check(device, i_know=options.nic.i_know)
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


def _restore(options: Options) -> int:
    if os.geteuid() != 0:
        raise Trouble("--restore needs root: it changes settings of the card")
    ifname, wanted = _config(options).netif, options.nic
    folder = cachedir.folder("nic")
    for line in restore.sweep(folder):
        say(line)
    if ifname not in (name for _, name in socket.if_nameindex()) and (
        line := restore.gone(folder, ifname, forget=wanted.forget)
    ):
        say(line)
        return 0
    with Device(ifname) as device, alone(device.ifindex, ifname):
        try:
            done = restore.restore(folder, device, force=wanted.force, forget=wanted.forget)
        except OSError as error:
            raise Trouble(f"{ifname}: {error.strerror or error}") from error
    return _tell(ifname, done)


def _tell(ifname: str, done: Restored) -> int:
    for line in done.lines or [f"{ifname}: there is nothing to put back"]:
        say(clean(line))
    if done.stuck:
        command = f"./run_tests.py nic {ifname} --restore"
        say(f"to overwrite what somebody else has set: {command} --force")
        say(f"to leave it as it is:                    {command} --forget")
    return 1 if done.stuck else 0
