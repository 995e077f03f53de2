# SPDX-License-Identifier: GPL-2.0
"""Everything that is not a verdict goes to stderr, one flushed line at a time."""

import sys


def say(line: str) -> None:
    """Print a line for people."""
    print(line, file=sys.stderr, flush=True)
