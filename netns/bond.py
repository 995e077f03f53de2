# SPDX-License-Identifier: GPL-2.0
"""A bond above a device: it hands XDP programs to its ports itself, past the core."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from pyroute2.netlink.exceptions import NetlinkError

from netns.link import End, Unsupported

_ACTIVE_BACKUP = 1  # BOND_MODE_ACTIVEBACKUP, linux/if_bonding.h


@contextlib.contextmanager
def bonded(port: End) -> Iterator[End]:
    """Inside, the device is the only port of a bond, which is up: the bond.

    The device is taken down and up on the way in. Raises Unsupported.
    """
    name = f"bond{port.ifindex}"
    with port.netlink() as ip:
        try:
            ip.link("add", ifname=name, kind="bond", bond_mode=_ACTIVE_BACKUP)
        except NetlinkError as error:
            raise Unsupported(f"no bond (CONFIG_BONDING): {error}") from error
        (index,) = ip.link_lookup(ifname=name)
        bond = replace(port, ifname=name, ifindex=index)
        try:
            port.set(state="down")
            port.set(master=index)
            bond.set(state="up")
            port.set(state="up")
            yield bond
        finally:
            ip.link("del", index=index)
