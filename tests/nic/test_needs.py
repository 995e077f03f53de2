# SPDX-License-Identifier: GPL-2.0
"""What a report says of cards that are not at hand, and what asking a driver for zctap brings."""

import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lib.nic import probe, report, safety, words
from lib.nic.ethtool import Channels, Rings
from lib.nic.features import Feature
from lib.nic.needs import lacks
from lib.nic.report import Report
from lib.nic.split import Split
from lib.uring import Ring
from lib.zctap import NoZctap, Zctap
from lib.zerocopy import Region
from tests.nic.fake import FakeDevice


@pytest.fixture
def card(place: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    """A card that has all there is."""
    monkeypatch.setattr(safety, "dangers", lambda device: [])
    device: Any = FakeDevice(place / "nic")
    found = report.gather(device)
    return replace(
        found,
        link=replace(found.link, addresses=("198.18.0.2/24",)),
        split=Split(2, 0, 1023),
        ntuple=Feature(True, True, True),
    )


def what(found: Report) -> list[str]:
    return [lack.what for lack in lacks(found)]


def commands(found: Report) -> list[str]:
    return [lack.command for lack in lacks(found) if lack.command]


def test_nothing(card: Report):
    assert not lacks(card)
    assert list(words.lines(replace(card, zctap="yes, queue 3 can be bound"), []))[1:] == [
        "  link          up, carrier, MTU 1500 (at most 9000), 02:00:00:00:00:07",
        "  addresses     198.18.0.2/24",
        "  queues        other 1, combined 4 (at most other 1, combined 8)",
        "  ring sizes    rx 256, tx 512 (at most rx 4096, tx 4096)",
        "  header split  on, beyond 0 bytes",
        "  RSS           over queues 0 1 2 3 (8 entries)",
        "  flow rules    0 of 16",
        "  XDP           no program",
        "  offloads on   none of those that matter",
        "  offloads off  none of those that matter",
        "  zctap         yes, queue 3 can be bound",
        "nothing is missing",
    ]


@pytest.mark.parametrize(
    ("changes", "command"),
    [
        ({"split": Split(1, 0)}, "ethtool -G fake0 tcp-data-split on"),
        ({"split": Split(2, 256)}, "ethtool -G fake0 hds-thresh 0"),
        ({"ntuple": Feature(True, False, False)}, "ethtool -K fake0 ntuple on"),
        (
            {"channels": (Channels(combined=1), Channels(combined=8))},
            "ethtool -L fake0 combined 2",
        ),
        ({"channels": (Channels(1, 1), Channels(4, 4))}, "ethtool -L fake0 rx 2"),
    ],
)
def test_what_a_command_enables(card: Report, changes: dict[str, Any], command: str):
    assert commands(replace(card, **changes)) == [command]
    assert not commands(replace(card, **changes, link=replace(card.link, kind="veth")))[1:]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"split": None}, "no header/data split"),
        ({"split": Split()}, "no header/data split"),
        ({"rules": None, "ntuple": None}, "no flow rules"),
        ({"table": None}, "no RSS table"),
        ({"channels": None}, "does not tell its queues"),
        ({"channels": (Channels(combined=1), Channels(combined=1))}, "one RX queue"),
        ({"ntuple": Feature(False, False, False)}, "are off"),
        ({"zctap": "no: the driver does not know it"}, "no zctap, for the reason above"),
    ],
)
def test_what_nothing_helps(card: Report, changes: dict[str, Any], said: str):
    found = replace(card, **changes)
    assert said in " ".join(what(found))
    assert not commands(found)
    assert all(lack.tests == "zero-copy tests" for lack in lacks(found))


def test_what_stops_all_tests(card: Report):
    link = replace(card.link, carrier=False, addresses=("fe80::1/64",))
    found = lacks(replace(card, link=link, dangers=["carries the default route of IPv4"]))
    assert {lack.tests for lack in found} == {"all tests"}
    assert [lack.what[:14] for lack in found] == ["it carries the", "no carrier: no", "no address"]


def test_a_card_that_can_do_nothing(card: Report):
    bare = replace(
        card,
        channels=None,
        rings=None,
        split=None,
        table=None,
        ntuple=None,
        rules=None,
        link=replace(card.link, up=False, carrier=False, addresses=(), max_mtu=0),
    )
    assert len(lacks(bare)) == 5
    assert all(line.isprintable() for line in words.lines(bare, lacks(bare)))


def test_numbers_with_a_limit_that_is_not_said(card: Report):
    found = replace(card, rings=(Rings(), Rings()), rules=3, rules_most=0)
    text = "\n".join(words.lines(found, []))
    assert "ring sizes    none (at most none)" in text
    assert "flow rules    3\n" in text


class Refused:
    """An Ifq that the kernel does not take, with an errno."""

    def __init__(self, code: int) -> None:
        self.code = code

    def __call__(self, ring: Ring, zctap: Zctap, region: Region, **place: int) -> Any:
        """As the class."""
        assert place == {"ifindex": 7, "queue_id": 3, "fill_bgid": 1}
        raise OSError(self.code, "no")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.EINVAL, "no: the driver does not know XDP_SETUP_ZCTAP (EINVAL, queue 3)"),
        (errno.EPERM, "no: it takes CAP_NET_ADMIN (EPERM, queue 3)"),
        (errno.EIO, "no: Input/output error (EIO, queue 3)"),
    ],
)
def test_drivers_that_refuse(place: Path, monkeypatch: pytest.MonkeyPatch, code: int, said: str):
    monkeypatch.setattr(probe, "probe", lambda: Zctap(49, 26, 27, "a test"))
    monkeypatch.setattr(probe, "Ifq", Refused(code))
    device: Any = FakeDevice(place / "nic")
    assert probe.ask(device) == said


def test_a_kernel_without_zctap(place: Path, monkeypatch: pytest.MonkeyPatch):
    def none() -> Zctap:
        raise NoZctap("no zctap in this kernel")

    monkeypatch.setattr(probe, "probe", none)
    device: Any = FakeDevice(place / "nic")
    assert probe.ask(device) == "no: no zctap in this kernel"
