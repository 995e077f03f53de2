# SPDX-License-Identifier: GPL-2.0
"""Where the boxes of a plot go, in an SVG: quartiles side by side, with the median and the ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lib.bench.summary import Spread
from lib.report.page.plot import WIDTH, Tick, ticks

LEFT, RIGHT, TOP, _ROW, _GAP = 96, 508, 6, 18, 12
HALF = 5  # of a box's height


@dataclass(frozen=True)
class Box:
    """A spread, at a height; `look` is the class of its colour."""

    name: str
    look: str
    y: float
    least: float
    low: float
    median: float
    high: float
    most: float
    text: str


@dataclass(frozen=True)
class Group:
    """Boxes that belong together, under a title."""

    title: str
    y: float
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Boxes:
    """All that there is to draw."""

    of: str
    unit: str
    groups: tuple[Group, ...]
    across: tuple[Tick, ...]
    bottom: float

    @property
    def height(self) -> float:
        """Of the SVG."""
        return self.bottom + 42


def boxes(
    of: str, unit: str, groups: Sequence[tuple[str, Sequence[tuple[str, str, Spread]]]]
) -> Boxes:
    """Return the plot of groups: a title, and name, look and spread of each box."""
    top = max((one.most for _, rows in groups for *_, one in rows), default=1.0)
    marks = ticks(0.0, max(top, 1e-9))

    def x(value: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * value / marks[-1], 1)

    y, found = TOP, []
    for title, rows in groups:
        y += _ROW
        at, drawn = y, []
        for name, look, one in rows:
            y += _ROW
            text = f"{one.median:.3g}, quartiles {one.low:.3g} and {one.high:.3g}"
            ends = (x(one.least), x(one.low), x(one.median), x(one.high), x(one.most))
            drawn.append(Box(name, look, y, *ends, text))
        found.append(Group(title, at, tuple(drawn)))
        y += _GAP
    across = tuple(Tick(x(value), f"{value:g}") for value in marks)
    return Boxes(of, unit, tuple(found), across, float(y))


__all__ = ["HALF", "LEFT", "RIGHT", "TOP", "WIDTH", "Box", "Boxes", "Group", "boxes"]
