# SPDX-License-Identifier: GPL-2.0
"""A link whose receiving end is a card that was named; what is at its other end was there before.

What a test may change of it is the steering, and only by way of the card's journal: by flow rules
where the card has them, by tc at the sending end where that is a veth's peer in a namespace that
was named, else not at all. Then, and where the driver does not know zctap, there is copy mode: the
payload comes by the card, and regions are bound to a device of ours that nothing arrives at.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
from collections.abc import Callable
from ipaddress import IPv4Interface, IPv6Interface
from typing import Any

from lib import far
from lib.far import Far
from lib.nic import ends, ethtool, probe, sender
from lib.nic.card import Card
from lib.nic.card import Unsupported as CannotDo
from lib.nic.config import Config
from lib.nic.flows import Flow
from lib.steering import Filter
from netns.ethtool import channels
from netns.link import End, Link, Unsupported
from netns.namespace import Namespace

# Of filters at the sending end; its user's are hardly there.
_FLOW_PRIO, _ALL_PRIO = 31_000, 32_000


class CardLink:
    """The link; `rx` is the card. The card and the namespace it is in are the caller's.

    queue: the one that connections are steered to. stand_in: gives a link of ours, for copy mode.
    Raises Trouble, OSError.
    """

    def __init__(
        self, card: Card, config: Config, queue: int, stand_in: Callable[[], Link]
    ) -> None:
        self._card, self._stand_in = card, stand_in
        self._undo = contextlib.ExitStack()
        pairs = {4: config.v4, 6: config.v6}
        self.families = tuple(family for family, pair in pairs.items() if pair)
        self._rules: dict[int, list[Any]] = {}  # port, 0 for all -> rules that steer it
        self._prio = itertools.count(_FLOW_PRIO)
        try:
            here = Namespace.here()
            self._undo.callback(here.close)
            self.rx = _end(here, ends.local(card.device, config))
            self._tx: End | None = None
            self.far: Far | None = None
            self._peer: sender.Place | None = None
            if config.remote_type == "ssh":
                source = {family: str(pair[1]) for family, pair in pairs.items() if pair}
                self.far = Far(far.ssh(config.remote), source, silence=card.device.silence)
                self._undo.callback(self.far.close)
            else:
                self._tx = self._named(config)
            self.copies = self._why_copies(queue)
        except BaseException:
            self._undo.close()
            raise

    def _named(self, config: Config) -> End:
        """The sending end in a namespace that has a name."""
        found = ends.remote(config)
        ns = Namespace.named(config.remote)
        self._undo.callback(ns.close)
        end = _end(ns, found)
        if _veth_to(self.rx) == end.ifindex and _veth_to(end) == self.rx.ifindex:
            self._peer = sender.Place(config.remote, end.ifname, end.ifindex)
        return end

    def _why_copies(self, queue: int) -> str:
        """Bring up the queue; "" if it receives without copies, else why it does not."""
        card = self._card
        try:
            now = ethtool.channels(card.device.ask)[0].receiving
        except OSError:
            now = 1  # for all the driver tells
        try:
            # First: a card that copies anyway is left as it is.
            if why := probe.refusal(card.device, max(0, min(queue, now - 1))):
                return why
            if now <= queue:
                card.set_channels(queue + 1)
            if self._peer is None:
                card.split_headers()
                card.spread_away_from(queue)
            elif why := _few_queues(self.tx, queue):
                return why
            self.steer(queue)
        except (CannotDo, Unsupported) as error:
            return str(error)
        except OSError as error:
            return f"{error.strerror or error}"
        return ""

    @property
    def tx(self) -> End:
        """The sending end. Raises Unsupported if that is on another host."""
        if self._tx is None:
            raise Unsupported("the sending end is on another host")
        return self._tx

    def place(self, queue: int) -> tuple[Namespace, int, int]:
        """Where to bind that queue: on the card, or on what stands in for it."""
        if self.copies:
            return self._stand_in().place(queue)
        return self.rx.ns, self.rx.ifindex, queue

    # -- steering --------------------------------------------------------------------------

    def steer(self, queue: int) -> None:
        """Send all TCP to that RX queue of the card, but for what steer_port() names."""
        self._take_back(0)
        self._put(0, queue)

    def steer_port(self, port: int, queue: int) -> None:
        """Send what goes to that TCP port to a queue."""
        # Where rules are asked in turn, the first one wins: that for all must be the last.
        everything = [rule.queue for rule in self._rules.get(0, [])[:1]]
        self._take_back(0)
        self._put(port, queue)
        for before in everything:
            self._put(0, before)

    def tidy(self) -> None:
        """Take back what steer_port() has done."""
        for port in [port for port in self._rules if port]:
            self._take_back(port)

    def _put(self, port: int, queue: int) -> None:
        try:
            if self._peer is not None:
                self._put_filters(self._peer, port, queue)
                return
            for family in self.families:
                flow = Flow(family, queue, dst=self.rx.address(family), dst_port=port)
                self._card.steer(flow)
                self._rules.setdefault(port, []).append(flow)
        except CannotDo as error:
            raise Unsupported(str(error)) from error

    def _put_filters(self, peer: sender.Place, port: int, queue: int) -> None:
        for family in self.families if port else (0,):
            prio = next(self._prio) if port else _ALL_PRIO
            wanted = Filter(prio, queue, port, family)
            self._card.steer_sender(peer, wanted)
            self._rules.setdefault(port, []).append(wanted)

    def _take_back(self, port: int) -> None:
        for rule in self._rules.pop(port, []):
            try:
                if self._peer is not None:
                    self._card.unsteer_sender(self._peer, rule)
                else:
                    self._card.unsteer(rule)
            except OSError as error:
                if error.errno != errno.ENODEV:  # it went with the card
                    raise

    # -- end -------------------------------------------------------------------------------

    def fds(self) -> int:
        """How many descriptors come and go with what a test does."""
        return self.far.fds() if self.far else 0

    def close(self) -> None:
        """Let go of the namespaces, and of the other end. Harmless when repeated."""
        self._undo.close()


def _veth_to(end: End) -> int:
    """The number of a veth's peer, in the peer's namespace; 0: it is no veth."""
    with end.netlink() as ip:
        (link,) = ip.link("get", index=end.ifindex)
    info = link.get("IFLA_LINKINFO")
    veth = info and info.get("IFLA_INFO_KIND") == "veth"
    return int(link.get("IFLA_LINK") or 0) if veth else 0


def _few_queues(end: End, queue: int) -> str:
    """Why a veth's peer cannot send to that queue; "" if it can."""
    _, tx = channels(end)
    if tx > queue:
        return ""
    command = f"ip netns exec {end.ns.name} ethtool -L {end.ifname} tx {queue + 1}"
    return f"the sending end has {tx} TX queues ({command})"


def _end(ns: Namespace, found: ends.Found) -> End:
    """An interface of a namespace. What it has no address of is never asked for."""
    v4, v6 = found.ipv4 or IPv4Interface("0.0.0.0/0"), found.ipv6 or IPv6Interface("::/0")
    return End(ns, found.ifname, found.ifindex, v4, v6)
