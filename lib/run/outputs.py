# SPDX-License-Identifier: GPL-2.0
"""The files that a run leaves: made sure of before it begins, written when it has ended."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

from lib.report import contract, junit
from lib.report.model import Run
from lib.report.page import page
from lib.run import known
from lib.run.eventfile import EventFile
from lib.run.options import Options
from lib.trouble import Trouble


def check(options: Options) -> None:
    """Raise Trouble if a file that was asked for cannot be written.

    A run may take half an hour. Files that are there keep their contents until there are others.
    """
    written = (options.events, options.junit, options.html, options.json, options.markdown)
    for path in filter(None, written):
        try:
            there = path.exists()
            if there and not (path.is_file() or path.is_dir()):
                continue  # a pipe's reader would take this for the end
            with path.open("ab"):
                pass
            if not there:
                path.resolve().unlink()  # not a link to what is not there yet
        except OSError as err:
            raise _trouble(path, err) from err


def _trouble(path: Path, err: OSError) -> Trouble:
    return Trouble(f"cannot write {path}: {err.strerror}")


def events(options: Options) -> EventFile:
    """Return the file for events. Raises Trouble."""
    try:
        return EventFile(options.events)
    except OSError as err:
        assert options.events
        raise _trouble(options.events, err) from err


def facts(**more: str) -> dict[str, str]:
    """Return what is known of a run before it begins: `more`, and what is the same for all."""
    script, *arguments = sys.argv
    uname = os.uname()
    return {
        "command": shlex.join([f"./{Path(script).name}", *arguments]),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **more,
        "host": f"{uname.sysname} {uname.release}, {os.cpu_count()} processors",
    }


def writer(options: Options, started: float, config: str = "") -> Callable[[Run], None]:
    """Return what writes the reports of a run that began when time.monotonic() was `started`.

    `config` are the kernel's options that are worth a look. What it returns raises Trouble.
    """

    def write_all(run: Run) -> None:
        seconds = time.monotonic() - started
        if options.junit:
            document = junit.to_junit(run, seconds, run.facts.get("started", ""))
            write(options.junit, document)
        if options.html:
            found = contract.of_run(contract.clauses(known.DOCUMENT.read_text()), run)
            text = page.render(run, found, seconds=seconds, config=config)
            write(options.html, text.encode())

    return write_all


def write(path: Path, content: bytes) -> None:
    """Write a file. Raises Trouble."""
    try:
        path.write_bytes(content)
    except OSError as err:
        raise _trouble(path, err) from err
