# SPDX-License-Identifier: GPL-2.0
"""`nic`: what a network card can do for the suite; and putting back what a killed run has left."""

from __future__ import annotations

import os
import socket

from lib import cachedir
from lib.nic import config, restore
from lib.nic.config import Config
from lib.nic.device import Device
from lib.nic.lock import alone
from lib.nic.restore import Restored
from lib.nic.show import show
from lib.report.ktap import clean
from lib.run import guest_card
from lib.run.options import Options
from lib.run.program import Place, pass_on
from lib.run.suite import DEFAULT, ROOT
from lib.say import say
from lib.trouble import Trouble


def run(options: Options) -> int:
    """Print the report, or restore: then 1 if not all is as it was. Raises Trouble."""
    if options.nic.restore:
        return _restore(options)
    wanted = options.nic
    show(_config(options), ask=wanted.probe, i_know=wanted.i_know, file=options.json)
    return 0


def run_in_guest(options: Options, place: Place) -> int:
    """Print the report of a guest's card; the exit status of lib/nic/show.py. Raises Trouble."""
    card = guest_card.tested(options.nic)
    assert card
    asked = ["--probe"] if options.nic.probe else []
    return place.run("lib.nic.show", [card.variables["NETIF"], *asked], pass_on)


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
