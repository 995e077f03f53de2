# SPDX-License-Identifier: GPL-2.0
"""What a test has measured over time, as its result event brings it (lib/samples.py)."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Series:
    """Values by name, at the times `t` (s, ascending); at least one of each."""

    of: str
    t: tuple[float, ...]
    values: dict[str, tuple[float, ...]]


def series_of(field: object) -> tuple[Series, ...]:
    """Return what an event's field `samples` has; what makes no sense is left out."""
    found = (_one(entry) for entry in field) if isinstance(field, list) else ()
    return tuple(one for one in found if one)


def _one(entry: object) -> Series | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("values"), dict):
        return None
    times = _numbers(entry.get("t"))
    values = {str(name): _numbers(column) for name, column in entry["values"].items()}
    lengths = {len(times), *map(len, values.values())}
    if not values or len(lengths) > 1 or not times or list(times) != sorted(times):
        return None
    return Series(str(entry.get("of", "")), times, values)


def _numbers(field: object) -> tuple[float, ...]:
    """Return a list of numbers, () if it is anything else."""
    if not isinstance(field, list):
        return ()
    good = all(type(value) in (int, float) and math.isfinite(value) for value in field)
    return tuple(field) if good else ()
