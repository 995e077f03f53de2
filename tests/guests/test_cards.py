# SPDX-License-Identifier: GPL-2.0
"""Devices of a guest, tested as if they were cards."""

import subprocess
import sys

import pytest

from tests.guests.conftest import ROOT, Runner

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


# Tests run in any order: what happens is told by how many there were.
STEPS = """
import os
from itertools import count
from pathlib import Path
import pytest
from lib.deadline import wait_until

NUMBERS = count()
CARD = Path("/sys/class/net/eth0")

@pytest.fixture(autouse=True)
def step():
    return next(NUMBERS)
"""
PULLED = f"""{STEPS}
BEFORE, PULLED, OFF, STILL_OFF, BACK, AFTER = range(6)

@pytest.fixture(autouse=True)
def wait_for_it(step):
    if step == BACK:
        wait_until(lambda: (CARD / "operstate").read_text() == "up\\n", "a carrier", 10)

@pytest.mark.parametrize("number", range(6))
def test_it(step, connection, number):
    connection.send(1000)
    while step == PULLED:
        connection.send(1)
    connection.read(1000)
"""


@pytest.mark.parametrize("card", ["virtio-net", "e1000e"])
def test_link_that_is_pulled(runner: Runner, card: str):
    run = runner.start(PULLED, "-j", "1", "--card", card)
    run.wait_until(lambda: run.begun() == 2, "the second test began")
    run.set_link(up=False)
    run.wait_until(lambda: run.begun() == 5, "the fifth test began")
    run.set_link(up=True)
    done = run.finish()
    words = list(done.verdicts.values())
    assert words == ["ok", "failed", "failed", "failed", "ok", "ok"], done.ktap + done.said
    assert done.status == 1
    assert done.ktap.count("eth0 has no carrier") == 3
    assert max(run.durations()[2:4]) < 3


# It is done while the second of test_card sends.
UNPLUGGED = f"""{STEPS}
CARDS = count()

@pytest.mark.parametrize("number", range(3))
def test_card(connection, number):
    second = next(CARDS) == 1
    connection.send(1000)
    while second:
        connection.send(1)
    connection.read(1000)

@pytest.mark.parametrize("number", range(3))
def test_no_device(ring, number):
    pass
"""


@pytest.mark.parametrize("card", ["virtio-net", "e1000e"])
def test_card_that_is_pulled_out(runner: Runner, card: str):
    run = runner.start(UNPLUGGED, "-j", "1", "--card", card)
    tests = [f"test_card[{number}]" for number in range(3)]
    run.wait_until(lambda: sum(map(run.has_begun, tests)) == 2, "a second test of the card began")
    run.unplug()
    done = run.finish()
    words = done.verdicts
    assert sorted(words.pop(test) for test in tests) == ["failed", "failed", "ok"], done
    assert list(words.values()) == ["ok"] * 3, done
    assert done.status == 1
    assert done.ktap.count("eth0 is gone") == 2
    # Beside the one that sets the card up and speaks to the other end first.
    assert sorted(run.durations())[-2] < 5


REMOVED = f"""{STEPS}
import subprocess

def remove():
    if os.environ["NETIF"] == "card":
        subprocess.run(["ip", "link", "del", "card"], check=True)
        return
    # A virtio device is on a bus of its own, on top of PCI's.
    device = (CARD / "device").resolve()
    folder = next(place for place in (device, device.parent) if (place / "remove").exists())
    (folder / "remove").write_text("1")

@pytest.mark.parametrize("number", range(3))
def test_card(connection, number):
    connection.send(1000)
    remove()
    connection.send(1000)
    wait_until(lambda: connection.queued() == 2000, "2000 bytes", 1, exact=True)

@pytest.mark.parametrize("number", range(3))
def test_own_device(own_link, make_station, number):
    flow = make_station(own_link).flow()
    flow.transfer(10_000)

@pytest.mark.parametrize("number", range(3))
def test_no_device(ring, number):
    pass
"""


@pytest.mark.parametrize(
    ("card", "name"), [("virtio-net", "eth0"), ("e1000e", "eth0"), ("veth", "card")]
)
def test_card_that_is_removed(runner: Runner, card: str, name: str):
    run = runner.start(REMOVED, "-j", "1", "--card", card)
    done = run.finish()
    words = {test: word for test, word in done.verdicts.items() if not test.startswith("test_card")}
    assert len(words) == 6
    assert set(words.values()) == {"ok"}, done.ktap + done.said
    assert [done.verdicts[f"test_card[{number}]"] for number in range(3)] == ["failed"] * 3
    assert done.status == 1
    assert done.ktap.count(f"{name} is gone") == 3
    assert "Traceback" not in done.said


@pytest.mark.usefixtures("runner")
def test_report_of_a_card():
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_tests.py"), "nic", "--card", "veth", "--probe"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("card: veth"), done
    assert "  zctap         yes, queue 1 can be bound\nnothing is missing\n" in done.stdout
    assert done.returncode == 0
