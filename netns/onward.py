# SPDX-License-Identifier: GPL-2.0
"""A third namespace behind the receiving end of a link: what arrives there goes on.

Five ways: B routes it, bridges it or redirects it (tc) to a second veth pair, or the third
namespace has a macvlan or an ipvlan on top of B's device. None of them reads the payload.
"""

import contextlib
import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from lib.pattern import Pattern
from netns.link import End, IPRoute, Link, LinkSpec, Unsupported, bring_up
from netns.namespace import Namespace
from netns.tcp import Connection, across

_INGRESS = 0xFFFFFFF2  # TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS), linux/pkt_sched.h
_ETH_P_ALL = 0x0003
_PERMANENT = 0x80  # NUD_PERMANENT, linux/neighbour.h
_ADDR_GEN_NONE = 1  # IN6_ADDR_GEN_MODE_NONE: no frames that nobody asked for
_ADDR_GEN = [["AF_INET6", {"attrs": [["IFLA_INET6_ADDR_GEN_MODE", _ADDR_GEN_NONE]]}]]
_FORWARDING = (
    Path("/proc/sys/net/ipv4/ip_forward"),
    Path("/proc/sys/net/ipv6/conf/all/forwarding"),
)

# What is routed to: a network of its own. What is bridged to: another host of the first one.
_ROUTED = LinkSpec(
    tx4="198.19.0.1/24", rx4="198.19.0.2/24", tx6="fd5a:c7aa::1/64", rx6="fd5a:c7aa::2/64"
)
_BRIDGED = LinkSpec(
    tx4="198.19.0.1/24", rx4="198.18.0.3/24", tx6="fd5a:c7aa::1/64", rx6="fd5a:c7a9::3/64"
)


@dataclass(frozen=True)
class Onward:
    """A link to B, the end in C, and the device by which B sends on (None: there is none)."""

    link: Link
    end: End
    out: End | None = None

    def connect(self, pattern: Pattern, family: int = 4, **options: Any) -> Connection:
        """A TCP connection from the link's sender to the end; the options are across()'s."""
        return across(self.link.tx, self.end, pattern, family, **options)


Way = Callable[[Link], AbstractContextManager[Onward]]


@contextlib.contextmanager
def routed(link: Link) -> Iterator[Onward]:
    """B forwards by IP, with routes there and back. The link is to be the caller's own."""
    with Link(_ROUTED, sender=link.rx.ns) as second:
        with link.rx.ns.entered():
            for path in _FORWARDING:
                path.write_text("1")
        for near, gateway, far in (
            (link.tx, link.rx, second.rx),
            (second.rx, second.tx, link.tx),
        ):
            with near.netlink() as ip:
                ip.route("add", dst=str(far.ipv4.network), gateway=gateway.address(4))
                ip.route(
                    "add",
                    family=socket.AF_INET6,
                    dst=str(far.ipv6.network),
                    gateway=gateway.address(6),
                )
        # A router without link-local address cannot ask who has an address of IPv6.
        for port, host in ((link.rx, link.tx), (second.tx, second.rx)):
            with host.netlink() as ip:
                mac = ip.link("get", index=host.ifindex)[0].get_attr("IFLA_ADDRESS")
            with port.netlink() as ip:
                ip.neigh(
                    "replace",
                    dst=host.address(6),
                    lladdr=mac,
                    ifindex=port.ifindex,
                    state=_PERMANENT,
                )
        yield Onward(link, second.rx, second.tx)


@contextlib.contextmanager
def bridged(link: Link) -> Iterator[Onward]:
    """Both devices of B are ports of a bridge. Raises Unsupported."""
    with Link(_BRIDGED, sender=link.rx.ns) as second:
        name = f"{link.rx.ifname[:-1]}r"
        with link.rx.netlink() as ip:
            _add(ip, "CONFIG_BRIDGE", ifname=name, kind="bridge")
            (index,) = ip.link_lookup(ifname=name)
        try:
            with link.rx.netlink() as ip:
                ip.link("set", index=index, IFLA_AF_SPEC={"attrs": _ADDR_GEN})
                ip.link("set", index=index, state="up")
            link.rx.set(master=index)
            second.tx.set(master=index)
            yield Onward(link, second.rx, second.tx)
        finally:
            with link.rx.netlink() as ip:
                ip.link("del", index=index)


@contextlib.contextmanager
def patched(link: Link) -> Iterator[Onward]:
    """What B's devices receive, tc redirects to the other one. Raises Unsupported."""
    with (
        Link(_BRIDGED, sender=link.rx.ns) as second,
        passed_on(link.rx, second.tx, "redirect"),
        passed_on(second.tx, link.rx, "redirect"),
    ):
        yield Onward(link, second.rx, second.tx)


@contextlib.contextmanager
def mirrored(link: Link) -> Iterator[Onward]:
    """What B receives over the link, tc copies to C, which is not a party. Raises Unsupported."""
    with Link(_ROUTED, sender=link.rx.ns) as second, passed_on(link.rx, second.tx, "mirror"):
        second.tx.wait_up()
        yield Onward(link, second.rx, second.tx)


@contextlib.contextmanager
def passed_on(source: End, target: End, how: str) -> Iterator[None]:
    """Inside, what `source` receives leaves by `target`: mirror or redirect. Raises Unsupported."""
    with ExitStack() as undo, source.netlink() as ip:
        try:
            ip.tc("add", "clsact", source.ifindex)
        except NetlinkError as error:
            if error.code not in (errno.EEXIST, errno.EINVAL):  # the sender of a link has one
                raise
        else:
            undo.callback(_remove_clsact, source)
        try:
            ip.tc(
                "add-filter",
                "u32",
                source.ifindex,
                parent=_INGRESS,
                prio=1,
                protocol=_ETH_P_ALL,
                target=0x10001,
                keys=["0x0/0x0+0"],
                action={
                    "kind": "mirred",
                    "direction": "egress",
                    "action": how,
                    "ifindex": target.ifindex,
                },
            )
        except NetlinkError as error:
            if error.code == errno.ENOENT:
                need = "CONFIG_NET_CLS_U32 and CONFIG_NET_ACT_MIRRED"
                raise Unsupported(f"passing frames on needs {need}") from error
            raise
        yield


def _remove_clsact(end: End) -> None:
    with end.netlink() as ip:
        ip.tc("del", "clsact", end.ifindex)


def macvlan(link: Link) -> AbstractContextManager[Onward]:
    """C has a macvlan on top of B's device. Raises Unsupported."""
    return _stacked(link, "CONFIG_MACVLAN", kind="macvlan", macvlan_mode="private")


def ipvlan(link: Link) -> AbstractContextManager[Onward]:
    """C has an ipvlan (L2) on top of B's device. Raises Unsupported."""
    return _stacked(link, "CONFIG_IPVLAN", kind="ipvlan", ipvlan_mode=0)


@contextlib.contextmanager
def _stacked(link: Link, need: str, **options: Any) -> Iterator[Onward]:
    name = f"{link.rx.ifname[:-1]}u"
    ipv4, ipv6 = IPv4Interface(_BRIDGED.rx4), IPv6Interface(_BRIDGED.rx6)
    ns = Namespace(name)
    try:
        with link.rx.netlink() as ip:
            _add(ip, need, ifname=name, link=link.rx.ifindex, net_ns_fd=ns.fd, **options)
        with ns.entered(), IPRoute() as ip:
            index = bring_up(ip, name, ipv4, ipv6)
        end = End(ns, name, index, ipv4, ipv6)
        try:
            yield Onward(link, end)
        finally:
            end.delete()
    finally:
        ns.close()


def _add(ip: Any, need: str, **options: Any) -> None:
    try:
        ip.link("add", **options)
    except NetlinkError as error:
        if error.code == errno.EOPNOTSUPP:
            raise Unsupported(f"this kernel has no {need}") from error
        raise


@contextlib.contextmanager
def stopped(onward: Onward) -> Iterator[Callable[[], None]]:
    """Inside, frames that B sends on wait in a qdisc, until the function is called.

    A token bucket that gives out 500 bytes a second. Raises Unsupported.
    """
    end = onward.out
    assert end is not None

    def bucket(rate: str) -> dict[str, Any]:
        return {"rate": rate, "burst": 2000, "limit": 1 << 22}

    def let_go() -> None:
        with end.netlink() as ip:
            ip.tc("change", "tbf", end.ifindex, 0x10000, **bucket("1gbit"))
        with end.ns.socket(socket.AF_INET, socket.SOCK_DGRAM) as kick:  # else it sleeps on
            kick.sendto(b"x", (onward.end.address(4), 9))

    with end.netlink() as ip:
        try:
            ip.tc("add", "tbf", end.ifindex, 0x10000, **bucket("4kbit"))
        except NetlinkError as error:
            if error.code == errno.ENOENT:
                raise Unsupported("this kernel has no CONFIG_NET_SCH_TBF") from error
            raise
    try:
        yield let_go
    finally:
        with end.netlink() as ip:
            ip.tc("del", "tbf", end.ifindex, 0x10000, **bucket("4kbit"))
