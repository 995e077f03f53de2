# SPDX-License-Identifier: GPL-2.0
"""A card of this machine, for a run on it: made sure of beforehand, and put back afterwards."""

from __future__ import annotations

import os
import socket
from typing import Any

from lib import cachedir
from lib.far import Far, FarLost, ssh
from lib.nic import config, ends, restore
from lib.nic.card import Card, Unrestored
from lib.run.options import Options
from lib.run.suite import DEFAULT, ROOT
from lib.run.tested import Tested, switches
from lib.say import say
from lib.trouble import Trouble


def named(options: Options) -> Tested | None:
    """Return the card that options, environment or net.config name; None if they name none.

    What an earlier run has left on it is put back. Raises Trouble.
    """
    found = config.read(
        os.environ,
        ROOT / DEFAULT / config.FILE,
        nic=options.nic.nic,
        remote=options.nic.remote,
        interfaces=[name for _, name in socket.if_nameindex()],
    )
    if found is None:
        if options.nic.force or options.nic.i_know:
            raise Trouble("--force and --i-know are about a card: name one, by --nic")
        return None
    found = config.complete(found)
    if os.geteuid() != 0:
        raise Trouble(f"testing {found.netif} needs root: settings of the card are changed")
    with Card(found.netif, i_know=options.nic.i_know) as card:
        ends.local(card.device, found)
        driver = card.device.driver().name
    words = f"{found.netif} ({driver}), the other end: {_other_end(found)}"
    return Tested(words, found.environment() | switches(options.nic))


def _other_end(found: config.Config) -> str:
    """Say what is there. Raises Trouble if it cannot be reached."""
    if found.remote_type == "netns":
        return f"{ends.remote(found).ifname} in namespace {found.remote}"
    try:
        pairs = {4: found.v4, 6: found.v6}
        source = {family: str(pair[1]) for family, pair in pairs.items() if pair}
        with Far(ssh(found.remote), source) as far:
            there = asked(far, found)
    except FarLost as error:
        raise Trouble(f"ssh {found.remote}: {error}") from error
    return f"{found.remote} by ssh (Linux {there['kernel']}, Python {there['python']})"


def asked(far: Far, found: config.Config) -> dict[str, Any]:
    """What the other end says of itself, if it can reach the card. Raises FarLost, Trouble."""
    try:
        there = far.hello()
    except OSError as error:
        raise Trouble(f"REMOTE_V4, REMOTE_V6: {error.strerror}") from error
    for pair in filter(None, (found.v4, found.v6)):
        try:
            far.reach(str(pair[0]), found.netif)
        except OSError as error:
            raise Trouble(
                f"the other end's packets for {pair[0]} do not come in by {found.netif}:"
                f" {error.strerror}"
            ) from error
    return there


def put_back(tested: Tested) -> int:
    """See to it that the card is as it was: pytest may have been killed.

    Returns what that makes of the exit status: 1 if it is not.
    """
    ifname = tested.variables["NETIF"]
    try:
        if ifname not in (name for _, name in socket.if_nameindex()):
            restore.gone(cachedir.folder("nic"), ifname, forget=False)
            raise Trouble(f"{ifname} is gone")
        with Card(ifname, i_know=True):
            return 0
    except (Trouble, Unrestored) as error:
        say(f"the card is not as it was: {error}")
        return 1
