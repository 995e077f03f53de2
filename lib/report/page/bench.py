# SPDX-License-Identifier: GPL-2.0
"""What was measured as one page for browsers: ratios, what they are ratios of, each round."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from lib.bench.case import WAYS, Setting
from lib.bench.measurement import Measurement
from lib.bench.summary import Row, Spread
from lib.bench.table import CAVEAT, HEAD, cells, notes
from lib.report.page import boxes, plot
from lib.report.page.template import environment
from lib.report.series import Series
from lib.sizes import size_of

_LOOK = {way: f"s{number}" for number, way in enumerate(WAYS)}
Pick = Callable[[Row], Spread | None]

# Title, unit and what it is of a row.
_FIGURES: dict[str, tuple[str, Pick]] = {
    "Goodput": ("ratio to recv(2)", lambda row: row.ratios.get("goodput")),
    "Receiver's CPU time": ("ratio to recv(2)", lambda row: row.ratios.get("receiver")),
    "CPU time of the machine": ("ratio to recv(2)", lambda row: row.ratios.get("machine")),
    "Goodput, absolute": ("MiB/s", lambda row: row.metrics["goodput"]),
    "Receiver's CPU time, absolute": ("s/GiB", lambda row: row.metrics["receiver"]),
}


def render(facts: Mapping[str, str], rows: Sequence[Row], found: Sequence[Measurement]) -> str:
    """Return the page."""
    return (
        environment()
        .get_template("bench.html")
        .render(
            facts={name: value for name, value in facts.items() if value},
            caveat=CAVEAT,
            notes=notes(rows),
            head=HEAD,
            ways=WAYS,
            tables=[
                (str(setting), [cells(row) for row in group])
                for setting, group in groupby(rows, lambda row: row.setting)
            ],
            figures=[(title, _figures(title, rows)) for title in _FIGURES],
            rounds=[figure for figure in map(_round_plot, *_by_setting(found)) if figure],
            box=boxes,
            plot=plot,
            looks=_LOOK,
        )
    )


def _figures(title: str, rows: Sequence[Row]) -> list[boxes.Boxes]:
    """One for each link and number of flows: a group for each size of a write."""
    unit, pick = _FIGURES[title]
    figures = []
    for (link, flows), some in groupby(rows, lambda row: (row.setting.link, row.setting.flows)):
        groups = []
        for size, few in groupby(some, lambda row: row.setting.size):
            drawn = [
                (row.way, _LOOK[row.way], spread)
                for row in few
                if (spread := pick(row)) is not None
            ]
            groups.append((f"{size_of(size)} writes", drawn))
        figures.append(boxes.boxes(f"{link}, flows: {flows}", unit, groups))
    return figures


def _by_setting(found: Sequence[Measurement]) -> tuple[list[Setting], list[list[Measurement]]]:
    grouped: dict[Setting, list[Measurement]] = {}
    for one in found:
        grouped.setdefault(one.setting, []).append(one)
    return list(grouped), list(grouped.values())


def _round_plot(setting: Setting, found: Sequence[Measurement]) -> plot.Plot | None:
    """Goodput by round, of the rounds that all ways have; None if they are less than two."""
    of = {(one.way, one.round): round(one.goodput, 1) for one in found}
    last = max(one.round for one in found) + 1
    whole = [at for at in range(last) if all((way, at) in of for way in WAYS)]
    if len(whole) < 2:
        return None
    values = {way: tuple(of[way, at] for at in whole) for way in WAYS}
    times = tuple(float(at + 1) for at in whole)
    return plot.plot(Series(f"{setting}: MiB/s", times, values))
