# SPDX-License-Identifier: GPL-2.0
"""Settings of a veth, in a namespace of its own: changed, and as they were afterwards."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from lib.nic import ethtool, report
from lib.nic.card import Card, Unrestored, Unsupported
from lib.nic.device import Device
from lib.nic.flows import Flow
from lib.run import host_card, nic, tested
from lib.run.options import parse
from lib.trouble import Trouble
from netns import Link
from tests.nic.changes import QUEUES, channels, die_with


def test_a_card_is_as_it_was(veth: Link, journals: Path):
    name = veth.rx.ifname
    before = channels(name)
    with Card(name) as card:
        assert card.set_channels(2) == 2
        assert card.set_channels(1) == 1
        assert channels(name).rx == 1
        for attempt in (
            lambda: card.spread_away_from(0),
            card.split_headers,
            lambda: card.steer(Flow(4, 1, dst_port=1)),
            lambda: card.set_rings(rx=512),
            lambda: card.set_channels(QUEUES + 1),
        ):
            with pytest.raises(Unsupported):
                attempt()
        with pytest.raises(Trouble, match=rf"in use by another run, process {os.getpid()}"):
            Card(name)
    assert channels(name) == before
    assert not list(journals.iterdir())


def test_killed_at_random_moments(veth: Link, journals: Path):
    name, draw, left = veth.rx.ifname, random.Random(7), 0
    with Device(name) as device:
        all_of_it = report.gather(device)
    before = channels(name)
    for _ in range(50):
        pid = os.fork()
        if not pid:
            try:
                while True:
                    with Card(name) as card:
                        for queues in (2, 1, 3) * 60:  # as long as the start takes
                            card.set_channels(queues)
            finally:
                os._exit(1)
        time.sleep(draw.uniform(0, 0.2))
        os.kill(pid, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(pid, 0)[1])
        left += bool(list(journals.glob("*")))
        with Card(name):
            assert channels(name) == before
    with Device(name) as device:
        assert report.gather(device) == all_of_it
    assert not list(journals.iterdir())
    print(f"{left} of 50 times there was something to put back")
    assert left > 5, "hardly ever killed while it had something to put back"


def test_drift(veth: Link, journals: Path, capsys: pytest.CaptureFixture[str]):
    name = veth.rx.ifname
    die_with(name)
    with Device(name) as device:
        ethtool.set_channels(device.ask, ethtool.Channels(3, 4))
    with pytest.raises(Trouble, match=r"queues: is rx 3, tx 4, which is neither .* --force or"):
        Card(name)
    assert nic.run(parse(["nic", name, "--restore"])) == 1
    assert channels(name).rx == 3
    assert nic.run(parse(["nic", name, "--restore", "--force"])) == 0
    assert channels(name).rx == QUEUES
    assert f"{name}: queues: rx 4, tx 4 again" in capsys.readouterr().err
    assert nic.run(parse(["nic", name, "--restore"])) == 0
    assert "nothing to put back" in capsys.readouterr().err
    assert not list(journals.iterdir())


def test_drift_at_the_end_of_a_run(veth: Link):
    name = veth.rx.ifname
    with pytest.raises(Unrestored, match="queues: is rx 3"), Card(name) as card:
        card.set_channels(2)
        ethtool.set_channels(card.device.ask, ethtool.Channels(3, 4))
    assert nic.run(parse(["nic", name, "--restore", "--forget"])) == 0
    assert channels(name).rx == 3


def test_renamed_meanwhile(veth: Link):
    name = veth.rx.ifname
    die_with(name)
    with veth.rx.netlink() as ip:
        ip.link("set", index=veth.rx.ifindex, state="down")
        ip.link("set", index=veth.rx.ifindex, ifname="renamed0")
    with pytest.raises(Trouble, match=r"is called renamed0 now: .* nic renamed0 --restore"):
        nic.run(parse(["nic", name, "--restore"]))
    assert nic.run(parse(["nic", "renamed0", "--restore"])) == 0
    assert channels("renamed0").rx == QUEUES


def test_gone_meanwhile(veth: Link, journals: Path, capsys: pytest.CaptureFixture[str]):
    name = veth.rx.ifname
    die_with(name)
    veth.rx.delete()
    with pytest.raises(Trouble, match=rf"^{name} \(veth .* is gone"):
        nic.run(parse(["nic", name, "--restore"]))
    assert nic.run(parse(["nic", name, "--restore", "--forget"])) == 0
    with pytest.raises(Trouble, match="no interface"):
        nic.run(parse(["nic", name, "--restore"]))
    assert not list(journals.iterdir())


def test_gone_in_the_middle_of_a_run(
    veth: Link, journals: Path, capsys: pytest.CaptureFixture[str]
):
    name = veth.rx.ifname
    told = rf"^{name} \(veth .* is gone, and what was changed with it, .* --restore --forget$"
    with pytest.raises(Unrestored, match=told), Card(name) as card:
        card.set_channels(2)
        veth.rx.delete()
    assert list(journals.iterdir())
    card_of = tested.Tested("", {"NETIF": name})
    assert host_card.put_back(card_of) == 1
    assert "is gone, and what was changed with it" in capsys.readouterr().err
    assert nic.run(parse(["nic", name, "--restore", "--forget"])) == 0
    assert host_card.put_back(card_of) == 1
    assert f"the card is not as it was: {name} is gone\n" in capsys.readouterr().err


def test_another_one_with_its_name_and_number(veth: Link):
    name = veth.rx.ifname
    die_with(name)
    veth.rx.delete()
    veth.rebuild()
    with pytest.raises(Trouble, match="what was changed has gone with it"):
        Card(name)
    assert nic.run(parse(["nic", name, "--restore", "--forget"])) == 0
    with Card(name):
        pass
