# SPDX-License-Identifier: GPL-2.0
"""What this process has measured over time: whoever measures says so here, the events carry it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# For a plot, and for an event that is no longer than a traceback.
POINTS = 400
_SERIES = 4  # of one test

_kept: list[dict[str, Any]] = []


def note(of: str, times: Sequence[float], values: dict[str, list[int]]) -> None:
    """Add a time series: values by name, each with as many as there are `times` (s).

    `of` says what it is of. What is more than a test may have is left out.
    """
    if times and len(_kept) < _SERIES:
        kept = worth_keeping(list(zip(*values.values(), strict=True)))
        _kept.append(
            {
                "of": of,
                "t": [round(times[at] - times[0], 4) for at in kept],
                "values": {name: [column[at] for at in kept] for name, column in values.items()},
            }
        )


def worth_keeping(rows: Sequence[object], most: int = POINTS) -> list[int]:
    """Return the numbers of at most `most` rows that draw the same steps as all of them.

    First those go that repeat the one before, which costs nothing; then one in so many.
    """
    last = len(rows) - 1
    found = [at for at, row in enumerate(rows) if at in (0, last) or row != rows[at - 1]]
    if len(found) <= most:
        return found
    return [found[at * (len(found) - 1) // (most - 1)] for at in range(most)]


def take() -> list[dict[str, Any]]:
    """Return what was noted since the last call, and forget it."""
    found = _kept.copy()
    _kept.clear()
    return found
