# SPDX-License-Identifier: GPL-2.0
"""Which TX queue of a device TCP takes: filters in its clsact qdisc, with skbedit(8) as the action.

Each function takes a pyroute2 IPRoute of the device's namespace, and raises pyroute2's
NetlinkError: ENOENT without CONFIG_NET_CLS_U32 or CONFIG_NET_ACT_SKBEDIT.
"""

from dataclasses import dataclass
from typing import Any

EGRESS, INGRESS = 0xFFFFFFF3, 0xFFFFFFF2  # TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_...), pkt_sched.h
_MATCH_ALL = "0x0/0x0+0"  # u32 for that, too: one classifier less to ask the kernel for
_CLASS = 0x10001  # u32 wants one; clsact has none


@dataclass(frozen=True)
class Filter:
    """What goes to that TCP or UDP port (0: everything) of that IP version (0: any) takes a queue.

    prio: filters of a device are asked in its order, and each has its own. A port is found only
    where no IP options and no extension headers are before it.
    """

    prio: int
    queue: int
    port: int = 0
    family: int = 0

    def __str__(self) -> str:
        what = f"port {self.port}, IPv{self.family}" if self.port else "everything"
        return f"{what} -> queue {self.queue}"

    @property
    def protocol(self) -> int:
        """What it looks at: ETH_P_ALL, ETH_P_IP, ETH_P_IPV6."""
        return {0: 0x0003, 4: 0x0800, 6: 0x86DD}[self.family]

    @property
    def key(self) -> str:
        """What has to be where, for u32."""
        if not self.port:
            return _MATCH_ALL
        at = {4: 20, 6: 40}[self.family]
        return f"{self.port:#x}/0x0000ffff+{at}"


def put(ip: Any, ifindex: int, wanted: Filter) -> None:
    """Put a filter in."""
    action = {"kind": "skbedit", "queue": wanted.queue}
    _tc(ip, "add-filter", ifindex, wanted, keys=[wanted.key], action=action)


def take(ip: Any, ifindex: int, there: Filter) -> None:
    """Take a filter out."""
    _tc(ip, "del-filter", ifindex, there)


def _tc(ip: Any, command: str, ifindex: int, of: Filter, **more: Any) -> None:
    ip.tc(
        command,
        "u32",
        ifindex,
        parent=EGRESS,
        prio=of.prio,
        protocol=of.protocol,
        target=_CLASS,
        **more,
    )
