# SPDX-License-Identifier: GPL-2.0
"""A byway: what a device receives is mirrored to a dummy device, where a qdisc holds it back."""

import errno
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from netns.link import End, Unsupported

_INGRESS = 0xFFFFFFF2  # TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)
_ETH_P_ALL = 0x0003
# The slowest that lets bursts of a frame pass: they are capped to what takes 4.3 s.
_SLOW, _FAST = "4kbit", "1gbit"
_BURST = 2000  # bytes that may pass at once; a frame beyond that is cut into its segments


class Byway:
    """Frames that `end` receives also lie in a token bucket that gives out 500 bytes a second."""

    def __init__(self, end: End) -> None:
        self._from, name = end, f"{end.ifname[:-1]}d"
        with end.netlink() as ip:
            ip.link("add", ifname=name, kind="dummy", state="up")
            (index,) = ip.link_lookup(ifname=name)
        self.end = End(end.ns, name, index, end.ipv4, end.ipv6)
        try:
            with end.netlink() as ip:
                ip.tc("add", "tbf", index, 0x10000, **_bucket(_SLOW))
                ip.tc("add", "clsact", end.ifindex)
                action = {
                    "kind": "mirred",
                    "direction": "egress",
                    "action": "mirror",
                    "ifindex": index,
                }
                ip.tc(
                    "add-filter",
                    "u32",
                    end.ifindex,
                    parent=_INGRESS,
                    prio=1,
                    protocol=_ETH_P_ALL,
                    target=0x10001,
                    keys=["0x0/0x0+0"],
                    action=action,
                )
        except NetlinkError as error:
            self.close()
            if error.code in (errno.ENOENT, errno.EOPNOTSUPP):
                need = "CONFIG_NET_SCH_TBF, CONFIG_NET_CLS_U32 and CONFIG_NET_ACT_MIRRED"
                raise Unsupported(f"a byway needs {need}") from error
            raise

    def open(self) -> None:
        """Let the frames go, once another one arrives."""
        with self.end.netlink() as ip:
            ip.tc("change", "tbf", self.end.ifindex, 0x10000, **_bucket(_FAST))

    def close(self) -> None:
        """Delete the mirror, and the dummy with what its qdisc holds. Harmless when repeated."""
        with self._from.netlink() as ip:
            for kind, index in (("clsact", self._from.ifindex), ("", self.end.ifindex)):
                try:
                    if kind:
                        ip.tc("del", kind, index)
                    else:
                        ip.link("del", index=index)
                except NetlinkError as error:
                    if error.code not in (errno.ENODEV, errno.EINVAL, errno.ENOENT):
                        raise  # gone with its device, or never made


def _bucket(rate: str) -> dict[str, Any]:
    return {"rate": rate, "burst": _BURST, "limit": 1 << 22}
