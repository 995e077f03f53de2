# SPDX-License-Identifier: GPL-2.0
"""Steering at the other end of a veth: by which of its TX queues that sends (lib/steering.py).

A frame that leaves by TX queue q arrives on RX queue q (drivers/net/veth.c:veth_xmit). Two settings
for the journal of a card, which are about a device of another network namespace: the clsact qdisc,
and a filter in it. When the namespace or the device is gone they are gone, too.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from lib import setns, steering
from lib.nic.device import IPRoute
from lib.steering import Filter

CLSACT = 0xFFFF0000  # its handle
_GONE = (errno.ENODEV, errno.ENOENT)


@dataclass(frozen=True)
class Place:
    """A device of a namespace, which has a name there, or a path."""

    netns: str
    ifname: str
    ifindex: int


@contextlib.contextmanager
def _at(place: Place) -> Iterator[Any]:
    """A route netlink socket there. Raises OSError; ENODEV: that device is not there."""
    fd = setns.open_named(place.netns)
    try:
        with setns.entered(fd, place.netns), IPRoute() as ip:
            if ip.link_lookup(ifname=place.ifname) != [place.ifindex]:
                raise OSError(errno.ENODEV, f"no {place.ifname} in {place.netns}")
            yield ip
    except NetlinkError as error:
        raise OSError(error.code, os.strerror(error.code)) from error
    finally:
        os.close(fd)


def has_clsact(place: Place) -> bool:
    """Whether the device has the qdisc. Raises OSError."""
    try:
        with _at(place) as ip:
            found = ip.get_qdiscs(index=place.ifindex)
    except OSError as error:
        if error.errno in _GONE:
            return False
        raise
    return any(one["handle"] == CLSACT and one.get("TCA_KIND") == "clsact" for one in found)


def set_clsact(place: Place, wanted: bool) -> None:
    """Give it the qdisc, or take it away, and all that is in it. Raises OSError."""
    with _at(place) as ip:
        ip.tc("add" if wanted else "del", "clsact", place.ifindex)


def filters(place: Place) -> list[tuple[int, int]]:
    """Parent and priority of all filters in the qdisc. Raises OSError."""
    with _at(place) as ip:
        return [
            (parent, one["info"] >> 16)
            for parent in (steering.EGRESS, steering.INGRESS)
            for one in ip.get_filters(index=place.ifindex, parent=parent)
        ]


def has_filter(place: Place, wanted: Filter) -> bool:
    """Whether a filter of that priority is there. Raises OSError."""
    try:
        return has_clsact(place) and (steering.EGRESS, wanted.prio) in filters(place)
    except OSError as error:
        if error.errno in _GONE:
            return False
        raise


def set_filter(place: Place, wanted: Filter, there: bool) -> None:
    """Put it in, or take it out. Raises OSError: ENOENT without CONFIG_NET_CLS_U32 or
    CONFIG_NET_ACT_SKBEDIT.
    """
    with _at(place) as ip:
        (steering.put if there else steering.take)(ip, place.ifindex, wanted)


def of_place(place: Place) -> dict[str, Any]:
    """Which qdisc, for a journal."""
    return asdict(place)


def of_filter(place: Place, wanted: Filter) -> dict[str, Any]:
    """Which filter, for a journal."""
    return {"at": asdict(place), "filter": asdict(wanted)}
