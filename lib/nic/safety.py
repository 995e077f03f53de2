# SPDX-License-Identifier: GPL-2.0
"""Interfaces that are better left alone: the machine might be out of reach afterwards."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from lib.nic.device import Device
from lib.trouble import Trouble

_LOOPBACK = 0x8  # IFF_LOOPBACK, uapi/linux/if.h
_UNICAST, _TABLE_LOCAL = 1, 255  # RTN_UNICAST, RT_TABLE_LOCAL, uapi/linux/rtnetlink.h
_AF_INET6 = 10
_PROC = Path("/proc")


def check(device: Device, *, i_know: bool) -> None:
    """Raise Trouble if an interface should not be touched; with i_know only if it cannot be."""
    with device.netlink() as ip:
        (link,) = ip.link("get", index=device.ifindex)
    if link["flags"] & _LOOPBACK:
        raise Trouble(f"{device.ifname()} is the loopback interface, no card")
    found = [] if i_know else dangers(device)
    if found:
        raise Trouble(
            f"{device.ifname()} {' and '.join(found)}: name another card,"
            " or say --i-know if losing it for a while does no harm"
        )


def dangers(device: Device, proc: Path = _PROC) -> list[str]:
    """Why losing an interface would hurt: what it, or a bond, bridge or VLAN on it, carries.

    Tunnels are not looked into. Raises OSError.
    """
    with device.netlink() as ip:
        links = list(ip.get_links())
        carried = above(device.ifindex, links)
        routes = default_routes([*ip.get_routes(family=2), *ip.get_routes(family=_AF_INET6)])
        versions = [f"IPv{version}" for version, outs in sorted(routes.items()) if outs & carried]
        found = [f"carries the default route of {' and '.join(versions)}"] if versions else []
        addresses = {
            address.get("IFA_LOCAL") or address.get("IFA_ADDRESS")
            for address in ip.get_addr()
            if address["index"] in carried
        }
        ssh = any(
            local in addresses or _way_out(ip, client) in carried
            for client, local in ssh_connections(proc)
        )
    if ssh:
        found.append("carries the ssh connection that this runs over")
    names = {link.get("IFLA_IFNAME") for link in links if link["index"] in carried}
    on_top = sorted(names - {device.ifname()})
    if found and on_top:
        found[-1] += f" (with {', '.join(on_top)} on it)"
    return found


def above(ifindex: int, links: Iterable[Any]) -> set[int]:
    """An interface's number, and those of what is on top of it: its bond or bridge, VLANs ..."""
    links = list(links)
    carried, before = {ifindex}, 0
    while len(carried) > before:
        before = len(carried)
        for link in links:
            # A veth's IFLA_LINK is its peer, and one in another namespace is somebody else's.
            info = link.get("IFLA_LINKINFO")
            pair = info and info.get("IFLA_INFO_KIND") == "veth"
            foreign = link.get("IFLA_LINK_NETNSID") is not None
            if link.get("IFLA_LINK") in carried and not pair and not foreign:
                carried.add(link["index"])
            if link["index"] in carried and link.get("IFLA_MASTER"):
                carried.add(link.get("IFLA_MASTER"))
    return carried


def default_routes(routes: Iterable[Any]) -> dict[int, set[int]]:
    """IP version -> numbers of the interfaces that routes to everywhere lead to, in any table.

    Half of everywhere counts, too: VPNs use two of these (0.0.0.0/1, 128.0.0.0/1), or 2000::/3.
    """
    found: dict[int, set[int]] = {}
    for route in routes:
        version = 6 if route["family"] == _AF_INET6 else 4
        wide = route["dst_len"] <= 1 or (version == 6 and route["dst_len"] <= 3)
        table = route.get("RTA_TABLE") or route["table"]
        if not wide or route["type"] != _UNICAST or table == _TABLE_LOCAL:
            continue
        outs = [route.get("RTA_OIF"), *(hop["oif"] for hop in route.get("RTA_MULTIPATH") or [])]
        found.setdefault(version, set()).update(out for out in outs if out)
    return found


def ssh_connections(proc: Path = _PROC) -> set[tuple[str, str]]:
    """Client and local address of the ssh connections that this process, or one that it comes
    from, was started over: sudo takes SSH_CONNECTION away, the shell before it has it.
    """
    found = set()
    for environment in _environments(proc):
        words = environment.get("SSH_CONNECTION", "").split()
        if len(words) == 4:
            with contextlib.suppress(ValueError):
                found.add((_plain(words[0]), _plain(words[2])))
    return found


def _plain(address: str) -> str:
    """Without a scope, and IPv4 as such."""
    parsed = ip_address(address.partition("%")[0])
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def _environments(proc: Path) -> Iterator[dict[str, str]]:
    yield dict(os.environ)
    pid = os.getppid()
    while pid > 1:
        try:
            data = (proc / str(pid) / "environ").read_bytes()
            # The name, in parentheses, may hold anything; the parent is the second field behind it.
            stat = (proc / str(pid) / "stat").read_text(errors="replace")
            pid = int(stat.rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return  # it has gone, or is another user's
        pairs = (word.partition("=") for word in os.fsdecode(data).split("\0"))
        yield {name: value for name, _, value in pairs}


def _way_out(ip: Any, address: str) -> int:
    """The interface that the kernel would send by; 0 if by none."""
    with contextlib.suppress(NetlinkError):
        return int(ip.route("get", dst=address)[0].get("RTA_OIF") or 0)
    return 0
