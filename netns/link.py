# SPDX-License-Identifier: GPL-2.0
"""A veth pair between two namespaces, several queues on each end, and steering to a queue.

Frames that leave `tx` by its TX queue q arrive on RX queue q of `rx` (veth maps them one to one,
drivers/net/veth.c:veth_xmit), so steering is a matter of the sender's queue: tc clsact egress with
`skbedit queue_mapping`, see Documentation/networking/multiqueue.rst.
"""

import contextlib
import errno
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface
from types import TracebackType
from typing import Any

import pyroute2
from pyroute2.netlink.exceptions import NetlinkError

from lib import steering
from lib.deadline import wait_until
from lib.steering import Filter
from netns.namespace import Namespace

_NODAD = 0x02  # IFA_F_NODAD: the address is usable at once
_ADDR_GEN_NONE = 1  # IN6_ADDR_GEN_MODE_NONE: no link-local address, hence no unasked-for frames
_FLOW_PRIO, _ALL_PRIO = 10, 1000  # smaller is asked first

IPRoute: Any = vars(pyroute2)["IPRoute"]  # its methods are made at run time, no checker sees them

_serial = itertools.count()


class Unsupported(Exception):
    """This kernel is built without something that the link needs; the text names it."""


@dataclass(frozen=True)
class LinkSpec:
    """What to build. Addresses: 198.18.0.0/15 is set aside for tests (RFC 2544)."""

    queues: int = 2
    mtu: int = 1500
    tx4: str = "198.18.0.1/24"
    rx4: str = "198.18.0.2/24"
    tx6: str = "fd5a:c7a9::1/64"
    rx6: str = "fd5a:c7a9::2/64"

    def shape(self) -> dict[str, int]:
        """What both ends are made with."""
        return {"num_tx_queues": self.queues, "num_rx_queues": self.queues, "mtu": self.mtu}


@dataclass(frozen=True)
class End:
    """One end of the pair."""

    ns: Namespace
    ifname: str
    ifindex: int
    ipv4: IPv4Interface
    ipv6: IPv6Interface

    def address(self, family: int) -> str:
        """The end's address of that IP version (4 or 6)."""
        return str((self.ipv4 if family == 4 else self.ipv6).ip)

    @contextlib.contextmanager
    def netlink(self) -> Iterator[IPRoute]:
        """A route netlink socket in the end's namespace."""
        with self.ns.entered(), IPRoute() as ip:
            yield ip

    def set(self, **changes: Any) -> None:
        """Change the interface: `ip link set`, with the names of pyroute2."""
        with self.netlink() as ip:
            ip.link("set", index=self.ifindex, **changes)

    def delete(self) -> None:
        """Delete the interface, and with it the other end's."""
        with self.netlink() as ip:
            ip.link("del", index=self.ifindex)

    def exists(self) -> bool:
        """Whether the namespace has an interface of that name."""
        with self.netlink() as ip:
            return bool(ip.link_lookup(ifname=self.ifname))

    def wait_up(self) -> None:
        """Wait until it sends: what came up before its peer drops frames until a kernel worker
        has seen its carrier (net/core/link_watch.c).

        TCP sends them again; who mirrors frames does not.
        """

        def up() -> bool:
            with self.netlink() as ip:
                return bool(ip.link("get", index=self.ifindex)[0].get("IFLA_OPERSTATE") == "UP")

        wait_until(up, f"{self.ifname} does not come up", 5)

    def mac(self) -> str:
        """The interface's MAC address."""
        with self.netlink() as ip:
            return str(ip.link("get", index=self.ifindex)[0].get("IFLA_ADDRESS"))

    def neighbour(self, address: str, mac: str) -> None:
        """Know where that address is without asking, until the interface is taken down."""
        with self.netlink() as ip:
            ip.neigh("replace", dst=address, lladdr=mac, ifindex=self.ifindex, state="permanent")

    def stats(self) -> dict[str, int]:
        """The interface's counters, as `ip -s link` shows them (struct rtnl_link_stats64)."""
        with self.netlink() as ip:
            return dict(ip.link("get", index=self.ifindex)[0].get("IFLA_STATS64"))


class Link:
    """The pair, up and addressed; a context manager. `tx` sends, `rx` receives.

    Each end gets a namespace of its own, unless the sender's is given, which stays its owner's.
    Names of the interfaces are unique to the process and the link. A set-up that fails half-way
    leaves nothing. Raises Unsupported, OSError or pyroute2's NetlinkError.
    """

    families = (4, 6)
    far = None  # the sender is here, and nobody has to be asked to send
    copies = ""  # payload can arrive in a region

    def __init__(self, spec: LinkSpec | None = None, sender: Namespace | None = None) -> None:
        self.spec = spec or LinkSpec()
        stem = f"zt{os.getpid() % 0x10000:04x}{next(_serial) & 0xFFF:03x}"
        self._undo = contextlib.ExitStack()
        self._all: Filter | None = None  # where everything goes
        self._prio = itertools.count(_FLOW_PRIO)
        try:
            if sender is None:
                sender = Namespace(f"{stem}-tx")
                self._undo.callback(sender.close)
            receiver = Namespace(f"{stem}-rx")
            self._undo.callback(receiver.close)
            self.tx, self.rx = self._build(sender, receiver, stem)
            self._undo.callback(self._delete)
        except BaseException:
            self._undo.close()
            raise

    def _build(self, sender: Namespace, receiver: Namespace, stem: str) -> tuple[End, End]:
        spec = self.spec
        tx4, tx6 = IPv4Interface(spec.tx4), IPv6Interface(spec.tx6)
        rx4, rx6 = IPv4Interface(spec.rx4), IPv6Interface(spec.rx6)
        queues = spec.shape()
        with sender.entered(), IPRoute() as ip:
            ip.link(
                "add",
                ifname=f"{stem}a",
                kind="veth",
                **queues,
                peer={"ifname": f"{stem}b", "net_ns_fd": receiver.fd, **queues},
            )
            index = bring_up(ip, f"{stem}a", tx4, tx6)
            ip.tc("add", "clsact", index)
        tx = End(sender, f"{stem}a", index, tx4, tx6)
        with receiver.entered(), IPRoute() as ip:
            index = bring_up(ip, f"{stem}b", rx4, rx6)
        return tx, End(receiver, f"{stem}b", index, rx4, rx6)

    def _delete(self) -> None:
        # Explicitly, not left to the end of the namespace: that runs late, on a kernel worker.
        for end in (self.tx, self.rx):
            if end.ns.fd < 0:
                continue  # a test ended its namespace
            try:
                with end.netlink() as ip:
                    ip.link("del", index=end.ifindex)
                return
            except NetlinkError as error:
                if error.code != errno.ENODEV:
                    raise  # ENODEV: a test deleted or moved this end; try the other

    # -- changes ---------------------------------------------------------------------------

    def move_receiver(self, ns: Namespace) -> End:
        """Move `rx` to another namespace and address it there; the end as it was before."""
        before = self.rx
        before.set(net_ns_fd=ns.fd)
        with ns.entered(), IPRoute() as ip:
            index = bring_up(ip, before.ifname, before.ipv4, before.ipv6)
        self.rx = End(ns, before.ifname, index, before.ipv4, before.ipv6)
        return before

    def rebuild(self) -> None:
        """Make the pair again once it is gone: `rx` with the name and the number it had."""
        queues, tx, rx = self.spec.shape(), self.tx, self.rx
        with rx.netlink() as ip:
            ip.link(
                "add",
                ifname=rx.ifname,
                index=rx.ifindex,
                kind="veth",
                **queues,
                peer={"ifname": tx.ifname, "net_ns_fd": tx.ns.fd, **queues},
            )
            bring_up(ip, rx.ifname, rx.ipv4, rx.ipv6)
        with tx.netlink() as ip:
            index = bring_up(ip, tx.ifname, tx.ipv4, tx.ipv6)
            ip.tc("add", "clsact", index)
        self.tx = End(tx.ns, tx.ifname, index, tx.ipv4, tx.ipv6)
        self._all = None

    def place(self, queue: int) -> tuple[Namespace, int, int]:
        """Where to bind that queue of the receiving end: namespace, interface, queue."""
        return self.rx.ns, self.rx.ifindex, queue

    # -- steering --------------------------------------------------------------------------

    def steer(self, queue: int) -> None:
        """Send everything to that RX queue of `rx`, but for what steer_port() names."""
        if self._all:
            with self.tx.netlink() as ip:
                steering.take(ip, self.tx.ifindex, self._all)
            self._all = None
        wanted = Filter(_ALL_PRIO, queue)
        self._put(wanted)
        self._all = wanted

    def steer_port(self, port: int, queue: int) -> None:
        """Send what goes to that TCP or UDP port (no IP options before it) to a queue."""
        for family in self.families:
            self._put(Filter(next(self._prio), queue, port, family))

    def _put(self, wanted: Filter) -> None:
        try:
            with self.tx.netlink() as ip:
                steering.put(ip, self.tx.ifindex, wanted)
        except NetlinkError as error:
            if error.code == errno.ENOENT:
                need = "CONFIG_NET_CLS_U32 and CONFIG_NET_ACT_SKBEDIT"
                raise Unsupported(f"steering needs {need}") from error
            raise

    # -- end -------------------------------------------------------------------------------

    def close(self) -> None:
        """Delete the pair and let go of the namespaces. Harmless when repeated."""
        self._undo.close()

    def __enter__(self) -> "Link":
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()


def bring_up(ip: IPRoute, ifname: str, ipv4: IPv4Interface, ipv6: IPv6Interface) -> int:
    """Address an interface of the namespace that `ip` is for, and bring it up: its number."""
    index: int = ip.link_lookup(ifname=ifname)[0]
    ip.link(
        "set",
        index=index,
        IFLA_AF_SPEC={
            "attrs": [["AF_INET6", {"attrs": [["IFLA_INET6_ADDR_GEN_MODE", _ADDR_GEN_NONE]]}]]
        },
    )
    ip.link("set", index=1, state="up")  # lo: the at-rest check sends through it
    ip.link("set", index=index, state="up")
    ip.addr("add", index=index, address=str(ipv4.ip), prefixlen=ipv4.network.prefixlen)
    ip.addr(
        "add",
        index=index,
        address=str(ipv6.ip),
        prefixlen=ipv6.network.prefixlen,
        flags=_NODAD,
    )
    return index
