# SPDX-License-Identifier: GPL-2.0
"""Medians, ratios, the table and the page, of measurements that are easy to work out."""

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from lib.bench.case import WAYS, Setting
from lib.bench.measurement import GIB, Cpu, Measurement
from lib.bench.processors import Machine
from lib.bench.summary import METRICS, Row, Spread, summary
from lib.bench.table import table
from lib.report.page.bench import render
from tests.report.test_page import Elements

ONE = Setting(1500, True, 1, 65536)
MACHINE = Machine(elapsed=4.0, cpus=2, busy=4.0, receiver=3.0, sender=1.0, stolen=0.0)
BASE = Measurement(
    "recv", ONE, 0, GIB, 2.0, Cpu(0.5, 1.5), Cpu(0, 1), MACHINE, 0, 0, 0, 16384, 16384, 0
)


def found() -> list[Measurement]:
    """Three rounds, the machine slower in each; zero-copy takes half as long and half the CPU."""
    rounds = [replace(BASE, round=at, seconds=2.0 + at) for at in range(3)]
    zero = [
        replace(
            one,
            way="zero-copy",
            seconds=one.seconds / 2,
            receiver=Cpu(0.25, 0.75),
            zero_copy=one.bytes - 1024,
            copied=1024,
            cqes=100,
            calls=10,
        )
        for one in rounds
    ]
    return [*zero, *rounds, replace(BASE, way="uring", setting=replace(ONE, flows=4))]


def test_spread():
    assert Spread.of([4.0]) == Spread(4.0, 4.0, 4.0, 4.0, 4.0)
    assert Spread.of([1.0, 2.0, 3.0, 4.0, 10.0]) == Spread(3.0, 2.0, 4.0, 1.0, 10.0)


def test_ratios_are_taken_round_by_round():
    base, zero, other = summary(found())
    assert (base.way, zero.way, zero.count) == ("recv", "zero-copy", 3)
    # The same in each round, whatever the machine did.
    assert zero.ratios["goodput"] == Spread(2.0, 2.0, 2.0, 2.0, 2.0)
    assert zero.ratios["receiver"].median == 0.5
    assert base.metrics["goodput"].median == pytest.approx(1024 / 3)
    assert zero.metrics["copied share"].median == pytest.approx(1024 / GIB)
    assert other.ratios == {}


def test_measurements_travel_as_json():
    for one in found():
        assert Measurement.of(json.loads(one.to_json())) == one
    whole = json.loads(BASE.to_json())
    bads: list[dict[str, object]] = [{}, {"setting": 1}, {**whole, "more": 1}]
    for bad in bads:
        with pytest.raises((TypeError, ValueError)):
            Measurement.of(bad)


def test_the_fields_of_a_report_are_described():
    text = (Path(__file__).parents[2] / "docs" / "bench.md").read_text()
    whole = json.loads(BASE.to_json())
    names = {*whole, *whole["setting"], *whole["receiver"], *whole["machine"], *METRICS}
    names |= {field.name for kind in (Row, Spread) for field in fields(kind)}
    assert {name for name in names if f"`{name}`" not in text} == set()


def test_table():
    lines = table(summary(found())).splitlines()
    assert lines[3] == "64 KiB writes, 1 flow, MTU 1500, TSO on"
    assert lines[4].split()[:5] == ["recv", "3", "1.00", "[1.00", "1.00]"]
    assert lines[5].split()[:5] == ["zero-copy", "3", "2.00", "[2.00", "2.00]"]
    assert "0.25+0.75" in lines[5]
    assert "75%*" in lines[5]
    assert lines[7] == "64 KiB writes, 4 flows, MTU 1500, TSO on"
    assert lines[8].split()[2] == "-"


def test_table_fits_a_terminal_of_a_slow_machine():
    slow = replace(BASE, seconds=300.0, sender=Cpu(98.76, 98.76), receiver=Cpu(98.76, 98.76))
    some = replace(slow, way="zero-copy", copied=GIB, cqes=123456, calls=123456, again=12345)
    text = table(summary([slow, some]))
    rows = text[: text.index("recv: ")].splitlines()
    assert max(map(len, rows)) <= 160
    assert len({len(row) for row in rows[4:6]}) == 1


def test_what_the_host_has_stolen_is_said():
    assert "The host has taken" not in table(summary([BASE]))
    stolen = replace(BASE, machine=replace(MACHINE, stolen=0.2))
    assert "The host has taken up to 2.5% of the CPUs' time" in table(summary([stolen]))
    assert "2.5%" in render({"kernel": "6.1"}, summary([stolen]), [stolen])


def test_goodput_is_in_one_unit():
    rounds = [replace(BASE, way=way, round=at) for way in WAYS for at in range(2)]
    assert summary(rounds)[0].metrics["goodput"].median == 512.0
    assert " 512 " in table(summary(rounds))
    text = render({"kernel": "6.1"}, summary(rounds), rounds)
    assert "GiB/s" not in text
    assert text.count("512, quartiles 512 and 512") == len(WAYS)


def test_page_is_all_there_and_escaped():
    text = render({"kernel": "6.1 <b>", "nothing": ""}, summary(found()), found())
    assert "6.1 &lt;b&gt;" in text
    assert "<b>" not in text
    assert "nothing" not in text
    assert Elements(text).found
    assert text.count("<figure>") == 5 * 2
    assert 'class="s3"' in text
    assert "http" not in text.replace("http-equiv", "")
