# SPDX-License-Identifier: GPL-2.0
"""What else a link may have for a while: VLANs, tunnels, frames beyond 64 KiB, frames in batches.

The devices have no addresses: Linux takes what is for any of its addresses from any device. So a
test may send single frames of a connection by way of them.
"""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from netns.link import End, Unsupported

_TSO_RTT_LOG = Path("/proc/sys/net/ipv4/tcp_tso_rtt_log")
_ADDR_GEN_NONE = 1  # IN6_ADDR_GEN_MODE_NONE: no frames that nobody asked for
_ADDR_GEN = [["AF_INET6", {"attrs": [["IFLA_INET6_ADDR_GEN_MODE", _ADDR_GEN_NONE]]}]]


@contextlib.contextmanager
def _device(end: End, name: str, need: str, **options: Any) -> Iterator[str]:
    with end.netlink() as ip:
        try:
            ip.link("add", ifname=name, **options)
        except NetlinkError as error:
            if error.code == errno.EOPNOTSUPP:
                raise Unsupported(f"this kernel has no {need}") from error
            raise
        (index,) = ip.link_lookup(ifname=name)
        ip.link("set", index=index, IFLA_AF_SPEC={"attrs": _ADDR_GEN})
        ip.link("set", index=index, state="up")
    try:
        yield name
    finally:
        with end.netlink() as ip:
            ip.link("del", index=index)


def vlan(end: End, vlan_id: int) -> "contextlib.AbstractContextManager[str]":
    """An 802.1Q device for that id: its name. Raises Unsupported."""
    return _device(
        end,
        f"vlan{vlan_id}",
        "CONFIG_VLAN_8021Q",
        kind="vlan",
        link=end.ifindex,
        vlan_id=vlan_id,
    )


def tunnel(end: End, family: int, remote: str) -> "contextlib.AbstractContextManager[str]":
    """What unpacks IPv4 in IPv4, or IPv6 in IPv6, from that address: its name.

    Raises Unsupported.
    """
    if family == 4:
        return _device(
            end,
            "inner4",
            "CONFIG_NET_IPIP",
            kind="ipip",
            ipip_local=end.address(4),
            ipip_remote=remote,
        )
    return _device(
        end,
        "inner6",
        "CONFIG_IPV6_TUNNEL",
        kind="ip6tnl",
        ip6tnl_local=end.address(6),
        ip6tnl_remote=remote,
        ip6tnl_link=end.ifindex,
        ip6tnl_proto=41,  # IPPROTO_IPV6
    )


@contextlib.contextmanager
def segmentation_up_to(end: End, size: int) -> Iterator[None]:
    """Inside, TCP gives the device frames of up to that size, beyond 64 KiB for IPv6.

    Raises Unsupported.
    """
    with end.netlink() as ip:
        (device,) = ip.link("get", index=end.ifindex)
    before = device.get("IFLA_GSO_MAX_SIZE")
    try:
        end.set(IFLA_GSO_MAX_SIZE=size)
    except NetlinkError as error:
        raise Unsupported(f"no frames of {size} bytes: {error}") from error
    try:
        with _whatever_the_round_trip(end):
            yield
    finally:
        end.set(IFLA_GSO_MAX_SIZE=before)


@contextlib.contextmanager
def _whatever_the_round_trip(end: End) -> Iterator[None]:
    """TCP makes frames smaller when round trips are slow, as on any machine that is (ip-sysctl)."""
    with end.ns.entered():
        before = _TSO_RTT_LOG.read_text() if _TSO_RTT_LOG.exists() else None
        if before:
            _TSO_RTT_LOG.write_text("31")
    try:
        yield
    finally:
        if before:
            with end.ns.entered():
                _TSO_RTT_LOG.write_text(before)


@contextlib.contextmanager
def held_back(end: End, microseconds: int) -> Iterator[None]:
    """Inside, frames that leave the device are held back, and so come in batches.

    Raises Unsupported.
    """
    with end.netlink() as ip:
        try:
            ip.tc("add", "netem", end.ifindex, handle="1:", delay=microseconds)
        except NetlinkError as error:
            if error.code == errno.ENOENT:
                raise Unsupported("this kernel has no CONFIG_NET_SCH_NETEM") from error
            raise
    try:
        yield
    finally:
        with end.netlink() as ip:
            ip.tc("del", "netem", end.ifindex, handle="1:")
