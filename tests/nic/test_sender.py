# SPDX-License-Identifier: GPL-2.0
"""Steering at the other end of a veth, which is changed and put back as a card's settings are."""

import os
import signal
from pathlib import Path

import pytest

from lib.nic import sender
from lib.nic.card import Card, Unrestored, Unsupported
from lib.nic.settings import title
from lib.steering import EGRESS, Filter
from lib.trouble import Trouble
from netns import Link

OURS = Filter(31_000, 1)


@pytest.fixture
def peer(veth: Link) -> sender.Place:
    """The sending end, without the qdisc that a Link gives it."""
    made = place_of(veth)
    try:
        sender.set_filter(made, OURS, True)
    except OSError as error:
        pytest.skip(f"CONFIG_NET_CLS_U32, CONFIG_NET_ACT_SKBEDIT: {error}")
    sender.set_clsact(made, False)
    return made


def place_of(link: Link) -> sender.Place:
    return sender.Place(f"/proc/{os.getpid()}/fd/{link.tx.ns.fd}", link.tx.ifname, link.tx.ifindex)


def state(peer: sender.Place) -> tuple[bool, list[tuple[int, int]]]:
    there = sender.has_clsact(peer)
    return there, sender.filters(peer) if there else []


@pytest.mark.parametrize(
    "wanted", [OURS, Filter(31_001, 3, 5001, 4), Filter(31_002, 2, 5001, 6)], ids=str
)
def test_it_is_there_and_gone(veth: Link, peer: sender.Place, wanted: Filter):
    with Card(veth.rx.ifname) as card:
        card.steer_sender(peer, wanted)
        there, found = state(peer)
        assert there
        assert set(found) == {(EGRESS, wanted.prio)}
        assert sender.has_filter(peer, wanted)
    assert state(peer) == (False, [])


def test_one_of_several_is_taken_back(veth: Link, peer: sender.Place):
    other = Filter(31_001, 2, 5001, 4)
    with Card(veth.rx.ifname) as card:
        card.steer_sender(peer, OURS)
        card.steer_sender(peer, other)
        card.unsteer_sender(peer, OURS)
        assert not sender.has_filter(peer, OURS)
        assert sender.has_filter(peer, other)
        card.unsteer_sender(peer, OURS)  # harmless
        card.steer_sender(peer, OURS)
    assert state(peer) == (False, [])


def test_what_was_there_stays(veth: Link, peer: sender.Place):
    theirs = Filter(7, 0, 22, 4)
    sender.set_clsact(peer, True)
    sender.set_filter(peer, theirs, True)
    before = state(peer)
    with Card(veth.rx.ifname) as card:
        card.steer_sender(peer, OURS)
        assert state(peer) != before
    assert state(peer) == before


def test_filters_that_somebody_puts_in_meanwhile(veth: Link, peer: sender.Place):
    theirs = Filter(7, 0, 22, 4)
    with pytest.raises(Unrestored, match="somebody else's filters"), Card(veth.rx.ifname) as card:
        card.steer_sender(peer, OURS)
        sender.set_filter(peer, theirs, True)
    assert not sender.has_filter(peer, OURS)
    with pytest.raises(Trouble, match="somebody else's filters"):
        Card(veth.rx.ifname)
    sender.set_filter(peer, theirs, False)
    with Card(veth.rx.ifname):
        assert state(peer) == (False, [])


def test_put_back_after_sigkill(veth: Link, peer: sender.Place, journals: Path):
    # By a path that the next process can open, too.
    pid = os.fork()
    if not pid:
        try:
            Card(veth.rx.ifname).steer_sender(peer, OURS)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert state(peer)[0]
    assert list(journals.glob("*.journal"))
    with Card(veth.rx.ifname):
        assert state(peer) == (False, [])
    assert not list(journals.glob("*.journal"))


@pytest.mark.parametrize("gone", ["netns", "device"])
def test_what_is_gone_needs_nothing(veth: Link, peer: sender.Place, gone: str):
    odd = (
        sender.Place("/nonexistent", peer.ifname, peer.ifindex)
        if gone == "netns"
        else sender.Place(peer.netns, "other", peer.ifindex)
    )
    assert not sender.has_clsact(odd)
    assert not sender.has_filter(odd, OURS)
    with Card(veth.rx.ifname) as card, pytest.raises((OSError, Unsupported)):
        card.steer_sender(odd, OURS)


def test_in_words():
    words = title("sender's filter", sender.of_filter(sender.Place("peer", "eth0", 2), OURS))
    assert words == "filter of eth0 in peer: everything -> queue 1"
    assert title("sender's qdisc", {"netns": "peer", "ifname": "eth0"}) == (
        "clsact qdisc of eth0 in peer"
    )
