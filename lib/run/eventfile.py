# SPDX-License-Identifier: GPL-2.0
"""The file of --events: what all sessions say, and what the host has to add.

Each line has a `session`, which is written here: a guest may say what it likes, but not that the
host has said it.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from lib.report.model import HOST, Result
from lib.say import say


class EventFile:
    """Lines are written and flushed at once. One that cannot be written ends the writing."""

    def __init__(self, path: Path | None) -> None:
        """Without a path nothing is written. Raises OSError."""
        self._path = path
        self._file = path.open("wb") if path else None
        self.broken = False

    def facts(self, facts: dict[str, str]) -> None:
        """Write what the host knows of the run."""
        self._write({"ev": "run", "facts": facts}, HOST)

    def heard(self, session: str, line: bytes) -> None:
        """Write a line of an event channel."""
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            event = None
        # What is no event is a complaint, too, for who reads the file.
        noise: dict[str, object] = {"ev": "noise", "line": line[:1000].decode(errors="replace")}
        self._write(event if isinstance(event, dict) else noise, session)

    def judged(self, result: Result) -> None:
        """Write a verdict that no session has brought."""
        fields = {name: value for name, value in asdict(result).items() if value}
        self._write({"ev": "result", **fields}, HOST)

    def _write(self, event: dict[str, object], session: str) -> None:
        if not self._file:
            return
        try:
            self._file.write(json.dumps(event | {"session": session}).encode() + b"\n")
            self._file.flush()
        except OSError as err:
            say(f"run_tests.py: cannot write {self._path}: {err.strerror}")
            self.broken, self._file = True, None
