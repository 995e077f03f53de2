# SPDX-License-Identifier: GPL-2.0
import pytest

from lib import samples
from lib.report.series import Series, series_of

GOOD = {"of": "ifq 1: pages", "t": [0, 0.5], "values": {"free": [4, 3], "user": [0, 1]}}


def test_what_the_guest_notes_is_read():
    samples.take()
    samples.note("ifq 1: pages", [7.0, 7.5], {"free": [4, 3], "user": [0, 1]})
    assert series_of(samples.take()) == series_of([GOOD])
    assert series_of([GOOD]) == (
        Series("ifq 1: pages", (0, 0.5), {"free": (4, 3), "user": (0, 1)}),
    )


@pytest.mark.parametrize(
    "change",
    [
        {"t": [0]},
        {"t": []},
        {"t": [1, 0]},
        {"t": "01"},
        {"t": [0, float("nan")]},
        {"values": {}},
        {"values": [1, 2]},
        {"values": {"free": [4, "3"], "user": [0, 1]}},
        {"values": {"free": [4], "user": [0, 1]}},
        {"values": {"free": [True, False]}},
    ],
)
def test_what_makes_no_sense_is_left_out(change: dict[str, object]):
    assert series_of([GOOD | change, GOOD]) == series_of([GOOD])


@pytest.mark.parametrize("field", [None, 7, "x", {"of": 1}, [None, 7, "x", []]])
def test_anything_else_is_nothing(field: object):
    assert series_of(field) == ()
