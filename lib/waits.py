# SPDX-License-Identifier: GPL-2.0
"""How long this process has waited, and for what: whoever waits says so here."""

_seconds: dict[str, float] = {}


def note(what: str, seconds: float) -> None:
    """Add a wait."""
    _seconds[what] = _seconds.get(what, 0.0) + seconds


def take(least: float = 0.001) -> dict[str, float]:
    """Return the waits since the last call, the longest first, and forget them.

    Those below `least` seconds are not worth mentioning.
    """
    order = sorted(_seconds.items(), key=lambda item: -item[1])
    found = {what: round(seconds, 4) for what, seconds in order if seconds >= least}
    _seconds.clear()
    return found
