# SPDX-License-Identifier: GPL-2.0
import pytest

from lib.report.page.plot import BOTTOM, LEFT, RIGHT, TOP, plot, ticks
from lib.report.series import Series


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        (0, 64, [0, 20, 40, 60, 80]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 5, [0, 1, 2, 3, 4, 5]),
        (-1, 3, [-1, 0, 1, 2, 3]),
        (0, 0.0031, [0, 0.001, 0.002, 0.003, 0.004]),
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, found: list[float]):
    assert ticks(low, high) == found


def test_lines_are_steps_from_edge_to_edge():
    found = plot(Series("ifq 1: pages", (0.0, 1.0, 2.0), {"free": (4, 2, 2), "user": (0, 2, 2)}))
    free, user = found.lines
    middle = (TOP + BOTTOM) / 2
    assert free.path == f"M{LEFT:.1f} {TOP:.1f}H{(LEFT + RIGHT) / 2}V{middle}H{RIGHT:.1f}V{middle}"
    assert user.path.startswith(f"M{LEFT:.1f} {BOTTOM:.1f}H")
    assert (free.low, free.high, found.points) == ("2", "4", 3)
    assert found.across[0].at == LEFT
    assert found.across[-1].at <= RIGHT


@pytest.mark.parametrize(
    "series",
    [
        Series("", (0.0,), {"free": (0,)}),
        Series("", (0.0, 0.0), {"free": (5, 5)}),
        Series("", (0.0, 1.0), {"free": (-3, -3)}),
        Series("", (0.0, 1e9), {"free": (1e12, 0)}),
    ],
)
def test_any_series_has_a_plot(series: Series):
    found = plot(series)
    assert all(TOP <= tick.at <= BOTTOM for tick in found.up)
    assert all(LEFT <= tick.at <= RIGHT for tick in found.across)
