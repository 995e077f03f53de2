# SPDX-License-Identifier: GPL-2.0
"""Follow a run by its sessions: the model, KTAP, and what people want to know."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from lib.report.ktap import Writer
from lib.report.model import GOOD, Result, Run
from lib.say import say
from lib.trouble import Trouble


class Supervisor:
    """Puts the sessions of any number of guests together; for use by several threads."""

    def __init__(
        self,
        notes: list[str],
        started: float,
        keep: Callable[[Run], None] = lambda run: None,
        events: Path | None = None,
        *,
        sessions: int = 1,
        bisecting: bool = False,
    ) -> None:
        """`notes` head the report; `started` (time.monotonic()) is when the user pressed enter.

        `keep` is called at the end; the events go to a file, too, if there is a name for it.
        The report begins when as many `sessions` have announced their tests. With `bisecting`
        it is Trouble if what went wrong says nothing about the kernel.
        """
        self.run = Run()
        self._keep = keep
        self._events = events.open("wb") if events else None
        self._writer = Writer(sys.stdout)
        self._notes = notes
        self._started = started
        self._expected = sessions
        self._bisecting = bisecting
        self._heard_of: set[str] = set()
        self._early: list[Result] = []
        self._begun = False
        self._first = True
        self._lock = threading.RLock()

    def over(self, work: Callable[[], None]) -> int:
        """Do the work, close the report whatever happens, return the exit status.

        Raises Trouble if there was no test.
        """
        try:
            work()
        except KeyboardInterrupt:
            self.finish()
            raise
        if not self.run.tests:
            raise Trouble("no test matches what was asked for")
        status = self.finish()
        if status == 1 and self._bisecting and not self.run.speaks_against_the_kernel():
            raise Trouble("what went wrong is not the kernel's doing: no verdict")
        return status

    def heard(self, session: str, line: bytes) -> None:
        """Keep a line of an event channel, with the name of its session."""
        if not self._events:
            return
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict):
                line = json.dumps(event | {"session": session}).encode()
        with self._lock:
            self._events.write(line + b"\n")
            self._events.flush()

    def announced(self, session: Run, *, instead: bool = False) -> None:
        """A session has said what it will run; with `instead`, it goes on with another's tests."""
        with self._lock:
            self.run.join(session)
            if not instead:
                self._heard_of.add(session.name)
            if not self._begun and len(self._heard_of) >= self._expected:
                self._begin()

    def _begin(self) -> None:
        self._begun = True
        notes = [*self._notes, f"kernel: {self.run.kernel}"]
        if self.run.seed is not None:
            notes.append(f"seed: {self.run.seed}")
        self._writer.begin(self.run.tests, notes)
        early, self._early = self._early, []
        self._report(early)

    def results(self, results: Iterable[Result]) -> None:
        """Report results; until every session has announced itself they wait."""
        with self._lock:
            new = list(results)
            self.run.take(new)
            if self._begun:
                self._report(new)
            else:
                self._early += new

    def _report(self, results: Iterable[Result]) -> None:
        for result in results:
            if self._first:
                self._first = False
                say(f"first result after {time.monotonic() - self._started:.1f} s")
            self._writer.result(result)

    def complain(self, complaints: list[str]) -> None:
        """Take what a channel brought that it should not have; it makes the run fail."""
        with self._lock:
            self.run.complaints += complaints

    def finish(self) -> int:
        """Close the report and return the exit status."""
        with self._lock:
            if not self._begun:
                self._begin()
            # None should be: each session sees to its own.
            self._report(self.run.lose("not run", "nobody ran it") if self.run.pending() else [])
            for complaint in self.run.complaints:
                say(f"event channel: {complaint}")
                self._writer.note(f"event channel: {complaint}")
            for result in self.run.results.values():
                if result.outcome not in (*GOOD, "skipped"):
                    say(f"{result.outcome}: {result.id}")
            self._keep(self.run)
            seconds = time.monotonic() - self._started
            say(f"{self.run.summary()} in {seconds:.1f} s")
            return self.run.exit_status()
