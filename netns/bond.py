# SPDX-License-Identifier: GPL-2.0
"""A bond above a device: it hands XDP programs to its ports itself, past the core."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from pyroute2.netlink.exceptions import NetlinkError

from netns.link import End, Unsupported

_ACTIVE_BACKUP = 1  # BOND_MODE_ACTIVEBACKUP, linux/if_bonding.h


@contextlib.contextmanager
def bond(home: End) -> Iterator[End]:
    """A bond without ports in the device's namespace, down. Raises Unsupported."""
    name = f"bond{home.ifindex}"
    with home.netlink() as ip:
        try:
            ip.link("add", ifname=name, kind="bond", bond_mode=_ACTIVE_BACKUP)
        except NetlinkError as error:
            raise Unsupported(f"no bond (CONFIG_BONDING): {error}") from error
        (index,) = ip.link_lookup(ifname=name)
        try:
            yield replace(home, ifname=name, ifindex=index)
        finally:
            ip.link("del", index=index)


@contextlib.contextmanager
def bonded(port: End) -> Iterator[End]:
    """Inside, the device is the only port of a bond, which is up: the bond.

    The device is taken down and up on the way in. Raises Unsupported.
    """
    with bond(port) as upper:
        port.set(state="down")
        port.set(master=upper.ifindex)
        upper.set(state="up")
        port.set(state="up")
        yield upper
