# SPDX-License-Identifier: GPL-2.0
"""The interfaces at both ends of a configuration, and the addresses that they have."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface
from typing import Any

from lib import setns
from lib.nic.config import Config
from lib.nic.device import Device, IPRoute
from lib.trouble import Trouble


@dataclass(frozen=True)
class Found:
    """An interface, and its addresses in the order that they were asked for."""

    ifname: str
    ifindex: int
    ipv4: IPv4Interface | None
    ipv6: IPv6Interface | None


def local(device: Device, config: Config) -> Found:
    """The card with its addresses. Raises Trouble, OSError."""
    pairs = (config.v4, config.v6)
    with device.netlink() as ip:
        wanted = [str(pair[0]) if pair else "" for pair in pairs]
        return _found(ip, wanted, device.ifname(), [device.ifindex])


def remote(config: Config) -> Found:
    """The interface that has the remote addresses, in a namespace. Raises Trouble, OSError."""
    name = config.remote
    try:
        fd = setns.open_named(name)
    except OSError as error:
        raise Trouble(f"REMOTE_ARGS: namespace {name}: {error.strerror}") from error
    try:
        with setns.entered(fd, name), IPRoute() as ip:
            wanted = [str(pair[1]) if pair else "" for pair in (config.v4, config.v6)]
            return _found(ip, wanted, f"namespace {name}")
    finally:
        os.close(fd)


def _found(
    ip: Any, wanted: Sequence[str], where: str, indices: Iterable[int] | None = None
) -> Found:
    there = {
        str(one.get("IFA_LOCAL") or one.get("IFA_ADDRESS")): (one["index"], one["prefixlen"])
        for one in ip.get_addr()
        if indices is None or one["index"] in indices
    }
    for address in filter(None, wanted):
        if address not in there:
            raise Trouble(f"{address} is not an address of {where}")
    index = next(there[address][0] for address in wanted if address)
    v4, v6 = (f"{address}/{there[address][1]}" if address else "" for address in wanted)
    return Found(
        ip.link("get", index=index)[0].get("IFLA_IFNAME"),
        index,
        IPv4Interface(v4) if v4 else None,
        IPv6Interface(v6) if v6 else None,
    )
