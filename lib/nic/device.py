# SPDX-License-Identifier: GPL-2.0
"""An interface that was named, and what rtnetlink knows of it."""

import contextlib
import difflib
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import pyroute2
from pyroute2.netlink.exceptions import NetlinkError

from lib.nic import ethtool, ioctl, netns
from lib.nic import split as hds
from lib.nic.split import Split
from lib.trouble import Trouble

IPRoute: Any = vars(pyroute2)["IPRoute"]  # its methods are made at run time, no checker sees them

_SIOCGIFNAME, _SIOCGIFFLAGS = 0x8910, 0x8913  # uapi/linux/sockios.h
_IFF_UP, _IFF_RUNNING = 0x01, 0x40  # uapi/linux/if.h
# pyroute2's words for IFLA_XDP_ATTACHED, uapi/linux/if_link.h
_XDP = {"xdp": "driver", "xdpgeneric": "generic", "xdpoffload": "offloaded", "xdpmulti": "several"}


@dataclass(frozen=True)
class Link:
    """What RTM_GETLINK says. `mac` is the permanent one, if the card has one.

    `xdp` is where a program sits ("": none), `kind` what created the interface ("": a driver).
    """

    ifname: str
    ifindex: int
    kind: str
    mac: str
    mtu: int
    max_mtu: int
    up: bool
    carrier: bool
    xdp: str
    xdp_program: int
    addresses: tuple[str, ...]


class Device:
    """An interface by its number, so that it may be renamed, and that no other is taken for it.

    A context manager. `ask` passes ethtool commands to it, as lib/nic/ioctl.py has it; all else is
    to be called in the namespace where this was made. Raises Trouble if there is no such interface.
    """

    def __init__(self, ifname: str) -> None:
        try:
            self.ifindex = socket.if_nametoindex(ifname)
        except (OSError, ValueError):
            raise Trouble(f"no interface {ifname!r} here; {_hint(ifname)}") from None
        self._named = ifname  # once it is gone nobody else knows
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.cookie = netns.cookie(self._sock)

    def ifname(self) -> str:
        """What it is called now. Raises OSError (ENODEV) when it is gone."""
        request = bytearray(struct.pack("16si20x", b"", self.ifindex))
        fcntl.ioctl(self._sock, _SIOCGIFNAME, request)
        return os.fsdecode(bytes(request[:16]).split(b"\0")[0])

    def silence(self) -> str:
        """Why nothing can arrive by it, as far as it tells: "" if something can. Raises OSError.

        Cheap: it may be asked before each test.
        """
        try:
            name = self.ifname()
            request = bytearray(struct.pack("16s24x", os.fsencode(name)))
            fcntl.ioctl(self._sock, _SIOCGIFFLAGS, request)
            (flags,) = struct.unpack_from("<H", request, 16)
            if not flags & _IFF_UP:
                return f"{name} is down"
            # The flag follows the carrier by up to a second, and only then can anything be sent.
            if flags & _IFF_RUNNING and self._carrier():
                return ""
        except OSError as error:
            if error.errno == errno.ENODEV:
                return f"{self._named} is gone"
            raise
        return f"{name} has no carrier: nothing is plugged in, or the other end is down"

    def _carrier(self) -> bool:
        try:
            return ethtool.carrier(self.ask)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            return True

    def ask(self, command: bytearray) -> int:
        """An Ask, see lib/nic/ioctl.py."""
        return ioctl.ask(self._sock, self.ifname(), command)

    def split(self) -> Split:
        """Header/data split. Raises OSError."""
        self._check_namespace()
        return hds.split(self.ifindex)

    def set_split(self, wanted: Split) -> None:
        """Change it. Raises OSError."""
        self._check_namespace()
        hds.set_split(self.ifindex, wanted)

    def link(self) -> Link:
        """What rtnetlink knows. Raises OSError."""
        with self.netlink() as ip:
            (link,) = ip.link("get", index=self.ifindex)
            addresses = [
                f"{address.get('IFA_LOCAL') or address.get('IFA_ADDRESS')}/{address['prefixlen']}"
                for address in ip.get_addr(index=self.ifindex)
            ]
        info, xdp = link.get("IFLA_LINKINFO"), link.get("IFLA_XDP")
        return Link(
            ifname=link.get("IFLA_IFNAME"),
            ifindex=self.ifindex,
            kind=(info and info.get("IFLA_INFO_KIND")) or "",
            mac=link.get("IFLA_PERM_ADDRESS") or link.get("IFLA_ADDRESS") or "",
            mtu=link.get("IFLA_MTU"),
            max_mtu=link.get("IFLA_MAX_MTU") or 0,
            up=link.get("state") == "up",
            carrier=bool(link.get("IFLA_CARRIER")),
            xdp=_XDP.get(xdp.get("IFLA_XDP_ATTACHED"), "") if xdp else "",
            xdp_program=(xdp and xdp.get("IFLA_XDP_PROG_ID")) or 0,
            addresses=tuple(addresses),
        )

    def driver(self) -> ethtool.Driver:
        """What its driver says of itself; empty if nobody says anything. Raises OSError."""
        try:
            return ethtool.driver(self.ask)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            return ethtool.Driver("", "", "", "")

    @contextlib.contextmanager
    def netlink(self) -> Iterator[IPRoute]:
        """A route netlink socket; what fails in it is an OSError."""
        self._check_namespace()
        try:
            with IPRoute() as ip:
                yield ip
        except NetlinkError as error:
            raise OSError(error.code, os.strerror(error.code)) from error

    def _check_namespace(self) -> None:
        if netns.here() != self.cookie:
            raise OSError(errno.EXDEV, f"interface {self.ifindex} is in another network namespace")

    def close(self) -> None:
        """Let go of the socket."""
        self._sock.close()

    def __enter__(self) -> "Device":
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()


def _hint(ifname: str) -> str:
    names = sorted(name for _, name in socket.if_nameindex())
    near = difflib.get_close_matches(ifname, names, 1)
    return f"there are {', '.join(names)}" + (f": did you mean {near[0]}?" if near else "")
