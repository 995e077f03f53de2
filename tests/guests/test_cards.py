# SPDX-License-Identifier: GPL-2.0
"""Devices of a guest, tested as if they were cards."""

import pytest

from tests.guests.conftest import Runner

NEEDS = """
import pytest

@pytest.mark.zero_copy
def test_zero_copy(station):
    flow = station.flow()
    flow.transfer(10_000)
    assert flow.tally.zero_copy > 5000
    assert station.link.rx.ifname == "card"

def test_copies(bystander):
    flow = bystander.flow()
    flow.transfer(10_000)
    assert flow.tally.copied == 10_000
    assert bystander.link.rx.ifname == "card"

def test_own_device(own_link, make_station):
    flow = make_station(own_link).flow()
    flow.transfer(10_000)
    assert flow.tally.zero_copy

def test_no_device(ring):
    pass
"""


@pytest.mark.parametrize(("card", "zero_copy"), [("veth", "ok"), ("macvlan", "skip")])
def test_what_a_card_is_used_for(runner: Runner, card: str, zero_copy: str):
    done = runner(NEEDS, "-j", "1", "--card", card)
    assert done.verdicts == {
        "test_zero_copy": zero_copy,
        "test_copies": "ok",
        "test_own_device": "ok",
        "test_no_device": "ok",
    }, done.ktap + done.said
    assert done.status == 0
    assert f"# card: {card}" in done.ktap


def test_what_a_card_lacks_can_be_a_failure(runner: Runner):
    done = runner(NEEDS, "-j", "1", "--card", "macvlan", "--force", "-m", "zero_copy")
    assert done.verdicts == {"test_zero_copy": "failed"}, done.ktap + done.said
    assert done.status == 1
    assert "card receives with copies only: " in done.ktap


LOST = """
import os
import signal

def test_loses_its_other_end(link, connection):
    connection.send(10)
    os.kill(link.far._process.pid, signal.SIGKILL)
    connection.send(10)

def test_has_another(connection):
    connection.send(10)
    connection.read(10)

def test_copies(bystander):
    flow = bystander.flow(6)
    flow.transfer(50_000)
    assert flow.tally.copied == 50_000
    assert bystander.link.rx.ifname == "eth0"
"""


@pytest.mark.parametrize("card", ["virtio-net", "e1000e"])
def test_emulated_card_and_ssh(runner: Runner, card: str):
    done = runner(LOST, "-j", "1", "--card", card)
    assert done.verdicts == {
        "test_loses_its_other_end": "failed",
        "test_has_another": "ok",
        "test_copies": "ok",
    }, done.ktap + done.said
    assert "FarLost" in done.ktap
