# SPDX-License-Identifier: GPL-2.0
"""Compare two runs by the files of their events."""

from __future__ import annotations

from pathlib import Path

from lib.report.compare import compare, lines
from lib.report.ktap import clean
from lib.report.model import Run, replay
from lib.run.options import Options
from lib.trouble import Trouble


def report(options: Options) -> int:
    """Print what has changed; return 1 if anything has become worse. Raises Trouble."""
    old, new = (_read(Path(name)) for name in options.paths)
    found = compare(old, new)
    for line in lines(old, new, found):
        # What a test said may hold anything, a terminal's control sequences for one.
        print(clean(line))
    return 1 if found.worse else 0


def _read(path: Path) -> Run:
    try:
        with path.open("rb") as file:
            run = replay(file)
    except OSError as err:
        raise Trouble(f"cannot read {path}: {err.strerror}") from err
    if not run.tests:
        raise Trouble(f"{path}: no run in it (want what --events has written)")
    return run
