# SPDX-License-Identifier: GPL-2.0
"""How a program of ours ends when it is told to, or has a bug. Standard library only."""

from __future__ import annotations

import os
import signal
import time
import traceback
from pathlib import Path
from typing import NoReturn

from lib.trouble import Trouble
from lib.vm import cache

BUG = "a bug of this runner"


def catch_signals() -> None:
    """Have SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt."""
    # SIGINT, too: a shell's background job is started with that ignored.
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, _terminated)
    # The terminal, or the connection, is gone. nohup(1) wants nothing to come of it.
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _terminated)


def _terminated(signum: int, frame: object) -> NoReturn:
    """Leave through every `finally`, so that nothing is left behind."""
    raise KeyboardInterrupt


def unexpected(err: Exception) -> str:
    """Return a line for an error of ours, and keep the traceback for whoever mends it."""
    place = traceback.extract_tb(err.__traceback__)[-1]
    where = f"{Path(place.filename).name}:{place.lineno}"
    try:
        log = cache.folder("log") / f"error-{os.getpid()}-{time.monotonic_ns()}"
        log.write_text("".join(traceback.format_exception(err)))
    except (OSError, Trouble):
        return f"{BUG}, at {where}: {err!r}"
    return f"{BUG}, at {where}: {err!r}; please report {log}"
