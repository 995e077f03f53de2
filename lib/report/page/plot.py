# SPDX-License-Identifier: GPL-2.0
"""Where the lines of a plot go, in an SVG: steps, for a value holds until the next."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lib.report.series import Series

# In the SVG's own units; the page scales it.
WIDTH, HEIGHT = 520, 220
LEFT, RIGHT, TOP, BOTTOM = 56, 510, 10, 176
_TICKS = 5


@dataclass(frozen=True)
class Tick:
    """A mark on an axis."""

    at: float
    label: str


@dataclass(frozen=True)
class Line:
    """A series as an SVG path, and the range of its values."""

    name: str
    path: str
    low: str
    high: str


@dataclass(frozen=True)
class Plot:
    """All that there is to draw."""

    of: str
    lines: tuple[Line, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    points: int


def plot(series: Series) -> Plot:
    """Return the plot of a series."""
    ending = series.t[-1] or 1.0
    top = max(max(column) for column in series.values.values())
    bottom = min(0.0, min(min(column) for column in series.values.values()))
    up = ticks(bottom, max(top, bottom + 1))
    low, high = min(up[0], bottom), max(up[-1], top)

    def x(time: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * time / ending, 1)

    def y(value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low), 1)

    lines = []
    for name, column in series.values.items():
        path = [f"M{x(series.t[0])} {y(column[0])}"]
        path += [f"H{x(t)}V{y(value)}" for t, value in zip(series.t, column, strict=True)][1:]
        lines.append(Line(name, "".join(path), _text(min(column)), _text(max(column))))
    across = [Tick(x(at), _text(at)) for at in ticks(0.0, ending) if at <= ending]
    marks = [Tick(y(value), _text(value)) for value in up]
    return Plot(series.of, tuple(lines), tuple(across), tuple(marks), len(series.t))


def ticks(low: float, high: float) -> list[float]:
    """Return round numbers from one at or below `low` to one at or above `high`."""
    rough = (high - low) / _TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * times for times in (1, 2, 5, 10) if unit * times >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def _text(value: float) -> str:
    return f"{value:g}"
