# SPDX-License-Identifier: GPL-2.0
"""VLAN devices on an end of a link, for a while."""

import contextlib
import errno
from collections.abc import Iterator

from pyroute2.netlink.exceptions import NetlinkError

from netns.link import End, Unsupported

_ADDR_GEN_NONE = 1  # IN6_ADDR_GEN_MODE_NONE: no frames that nobody asked for


def name_of(vlan_id: int) -> str:
    """The name of the device."""
    return f"vlan{vlan_id}"


@contextlib.contextmanager
def vlan(end: End, vlan_id: int) -> Iterator[str]:
    """Inside, the end has an 802.1Q device for that id, up and without addresses: its name.

    Raises Unsupported without CONFIG_VLAN_8021Q.
    """
    name = name_of(vlan_id)
    with end.netlink() as ip:
        try:
            ip.link("add", ifname=name, kind="vlan", link=end.ifindex, vlan_id=vlan_id)
        except NetlinkError as error:
            if error.code == errno.EOPNOTSUPP:
                raise Unsupported("VLAN devices need CONFIG_VLAN_8021Q") from error
            raise
        (index,) = ip.link_lookup(ifname=name)
        quiet = {"attrs": [["AF_INET6", {"attrs": [["IFLA_INET6_ADDR_GEN_MODE", _ADDR_GEN_NONE]]}]]}
        ip.link("set", index=index, IFLA_AF_SPEC=quiet)
        ip.link("set", index=index, state="up")
    try:
        yield name
    finally:
        with end.netlink() as ip:
            ip.link("del", index=index)
