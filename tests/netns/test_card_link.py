# SPDX-License-Identifier: GPL-2.0
"""A link whose receiving end is a card: here one end of a veth pair that is there already."""

import os
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from lib.nic import probe, sender
from lib.nic.card import Card, Settings
from lib.nic.config import Config
from lib.nic.flows import Flow
from lib.pattern import Pattern
from lib.trouble import Trouble
from netns import Link, LinkSpec, Unsupported, connect, ethtool
from netns.card_link import CardLink

TX4, RX4, TX6, RX6 = "198.18.0.1", "198.18.0.2", "fd5a:c7a9::1", "fd5a:c7a9::2"


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Link]:
    """Two queues; the test is in the receiver's namespace."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    try:
        made = Link(LinkSpec(tx4=f"{TX4}/24", rx4=f"{RX4}/24", tx6=f"{TX6}/64", rx6=f"{RX6}/64"))
    except PermissionError as error:
        pytest.skip(f"network namespaces need root: {error}")
    with made, made.rx.ns.entered():
        sender.set_clsact(place_of(made), False)
        yield made


def place_of(link: Link) -> sender.Place:
    return sender.Place(peer_of(link), link.tx.ifname, link.tx.ifindex)


def peer_of(link: Link) -> str:
    return f"/proc/{os.getpid()}/fd/{link.tx.ns.fd}"


def config(link: Link, **changes: Any) -> Config:
    wanted = {
        "netif": link.rx.ifname,
        "v4": (ip_address(RX4), ip_address(TX4)),
        "v6": (ip_address(RX6), ip_address(TX6)),
        "remote_type": "netns",
        "remote": peer_of(link),
    }
    return Config(**wanted | changes)


def never() -> Link:
    raise AssertionError("nobody asked for it")


@pytest.mark.parametrize("family", [4, 6])
def test_a_stream_to_the_card(pair: Link, family: int):
    with Card(pair.rx.ifname) as card:
        link = CardLink(card, config(pair), 1, never)
        assert (link.rx.ifname, link.rx.ifindex) == (pair.rx.ifname, pair.rx.ifindex)
        assert (link.tx.ifname, link.tx.ifindex) == (pair.tx.ifname, pair.tx.ifindex)
        made = connect(link, Pattern(3), family)
        made.send(5000)
        made.read(5000)
        made.close()
        link.close()


def test_one_ip_version(pair: Link):
    with Card(pair.rx.ifname) as card:
        link = CardLink(card, config(pair, v4=None), 1, never)
        assert link.families == (6,)
        connect(link, Pattern(3)).close()
        with pytest.raises(Unsupported, match="LOCAL_V4"):
            connect(link, Pattern(3), 4)
        link.close()


def test_steering_by_the_sending_end(pair: Link):
    place = place_of(pair)
    with Card(pair.rx.ifname) as card:
        link = CardLink(card, config(pair), 1, never)
        try:
            link.steer(1)
        except Unsupported as error:
            pytest.skip(str(error))
        link.steer_port(5001, 0)
        assert len(set(sender.filters(place))) == 3  # for all, and for each IP version
        link.steer(0)
        link.tidy()
        assert len(set(sender.filters(place))) == 1
        link.close()
    assert not sender.has_clsact(place)


def test_the_queue_is_brought_up(pair: Link, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probe, "refusal", lambda _device, _queue: "")
    ethtool.set_channels(pair.rx, 1, 2)
    with Card(pair.rx.ifname) as card:
        CardLink(card, config(pair), 1, never).close()
        assert ethtool.channels(pair.rx) == (2, 2)
    assert ethtool.channels(pair.rx) == (1, 2)


def test_copies_where_it_has_to(pair: Link):
    """On a kernel without zctap, or a driver without it, regions are bound elsewhere."""
    with Card(pair.rx.ifname) as card, Link() as ours:
        link = CardLink(card, config(pair), 1, lambda: ours)
        if not link.copies:
            pytest.skip("this kernel's veth has zctap")
        assert link.place(1) == (ours.rx.ns, ours.rx.ifindex, 1)
        link.close()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"remote": "no-such-netns"}, "REMOTE_ARGS: namespace no-such-netns: No such file"),
        ({"v4": (ip_address("198.18.0.7"), ip_address(TX4))}, "198.18.0.7 is not an address of"),
        ({"v6": (ip_address(RX6), ip_address("fd00::7"))}, "fd00::7 is not an address of names"),
    ],
)
def test_what_is_not_there(pair: Link, changes: dict[str, Any], problem: str):
    with Card(pair.rx.ifname) as card, pytest.raises(Trouble, match=problem):
        CardLink(card, config(pair, **changes), 1, never)


class Rules:
    """A card with flow rules, which keeps them in the order of its table."""

    def __init__(self) -> None:
        self.rules: list[Flow] = []

    def steer(self, flow: Flow) -> None:
        """As Card."""
        self.rules.append(flow)

    def unsteer(self, flow: Flow) -> None:
        """As Card."""
        self.rules.remove(flow)


def test_rules_of_a_port_come_before_that_for_all(pair: Link):
    with Card(pair.rx.ifname) as card:
        link = CardLink(card, config(pair), 1, never)
    rules = Rules()
    link._card, link._peer, link._rules = rules, None, {}  # type: ignore[assignment]
    assert isinstance(card, Settings)
    link.steer(1)
    assert rules.rules == [Flow(4, 1, dst=RX4), Flow(6, 1, dst=RX6)]
    link.steer_port(5001, 0)
    port = [Flow(4, 0, dst=RX4, dst_port=5001), Flow(6, 0, dst=RX6, dst_port=5001)]
    assert rules.rules == [*port, Flow(4, 1, dst=RX4), Flow(6, 1, dst=RX6)]
    link.tidy()
    assert rules.rules == [Flow(4, 1, dst=RX4), Flow(6, 1, dst=RX6)]
    link.close()
