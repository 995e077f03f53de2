# SPDX-License-Identifier: GPL-2.0
"""The few lines that say why a test is not good."""

from __future__ import annotations

from lib.report.model import Result

_LINES = 3


def gist(result: Result, most: int = _LINES) -> list[str]:
    """Return the reason, or what pytest marks as the error, or the last lines of the detail."""
    if result.reason:
        return result.reason.splitlines()[:most]
    lines = [line.rstrip() for line in result.detail.splitlines() if line.strip()]
    # pytest begins the lines of an exception's text with "E".
    marked = [line[1:].strip() for line in lines if line.startswith("E ")]
    return marked[:most] or lines[-most:]
