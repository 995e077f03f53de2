# SPDX-License-Identifier: GPL-2.0
"""Everything that is not a verdict goes to stderr, one flushed line at a time."""

import contextlib
import sys
from collections.abc import Callable

_instead: Callable[[str], None] | None = None


def say(line: str) -> None:
    """Print a line for people."""
    # The terminal may be gone, and what has to be put back is to be put back all the same.
    with contextlib.suppress(OSError):
        if _instead:
            _instead(line)
        else:
            print(line, file=sys.stderr, flush=True)


def say_by(printer: Callable[[str], None] | None) -> None:
    """Let somebody else print, who keeps more than lines on the terminal; None: as before."""
    global _instead
    _instead = printer
