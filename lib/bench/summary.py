# SPDX-License-Identifier: GPL-2.0
"""Medians and quartiles of what was measured, and ratios to the way that all have."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

from lib.bench.case import BASE, WAYS, Setting
from lib.bench.measurement import Measurement

Value = Callable[[Measurement], float]

# Name -> what it is of a measurement.
METRICS: dict[str, Value] = {
    "goodput": lambda one: one.goodput,
    "receiver": lambda one: one.per_gib(one.receiver.total),
    "machine": lambda one: one.per_gib(one.machine.busy),
    "receiver user": lambda one: one.per_gib(one.receiver.user),
    "receiver system": lambda one: one.per_gib(one.receiver.system),
    "sender user": lambda one: one.per_gib(one.sender.user),
    "sender system": lambda one: one.per_gib(one.sender.system),
    "receiver's CPU busy": lambda one: one.machine.receiver_share,
    "sender's CPU busy": lambda one: one.machine.sender_share,
    "stolen share": lambda one: one.machine.stolen_share,
    "copied share": lambda one: one.copied / max(one.zero_copy + one.copied, 1),
    "cqes": lambda one: one.per_gib(one.cqes),
    "calls": lambda one: one.per_gib(one.calls),
    "writes": lambda one: one.per_gib(one.writes),
    "again": lambda one: one.per_gib(one.again),
}
RATIOS = ("goodput", "receiver", "receiver system", "machine")


@dataclass(frozen=True)
class Spread:
    """Median, quartiles, and the ends."""

    median: float
    low: float
    high: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of one value at least."""
        low, middle, high = (
            statistics.quantiles(values, n=4, method="inclusive")
            if len(values) > 1
            else (values[0],) * 3
        )
        return cls(middle, low, high, min(values), max(values))


@dataclass(frozen=True)
class Row:
    """A setting in one way: its metrics, and the ratios of some to the base's, by round."""

    setting: Setting
    way: str
    count: int
    metrics: dict[str, Spread]
    ratios: dict[str, Spread]


def summary(found: Iterable[Measurement]) -> list[Row]:
    """A row for each setting and way that was measured, in their order.

    A ratio is that of two measurements of one round, which lie close to each other in time: so
    what slows the machine down for a while takes part in both.
    """
    grouped: dict[tuple[Setting, str], dict[int, Measurement]] = {}
    for one in found:
        grouped.setdefault((one.setting, one.way), {})[one.round] = one
    order = list(WAYS)
    rows = []
    for setting, way in sorted(grouped, key=lambda key: (key[0], order.index(key[1]))):
        mine = grouped[setting, way]
        base = grouped.get((setting, BASE), {})
        metrics = {
            name: Spread.of([of(one) for one in mine.values()]) for name, of in METRICS.items()
        }
        ratios = {}
        for name in RATIOS:
            of = METRICS[name]
            pairs = [(of(mine[at]), of(base[at])) for at in mine if at in base]
            if values := [value / other for value, other in pairs if other]:
                ratios[name] = Spread.of(values)
        rows.append(Row(setting, way, len(mine), metrics, ratios))
    return rows


def as_json(rows: Iterable[Row]) -> list[dict[str, object]]:
    """The rows as plain objects."""
    return [asdict(row) for row in rows]
