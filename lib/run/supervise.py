# SPDX-License-Identifier: GPL-2.0
"""Follow a run by its events: deadlines, the model, KTAP, and what people want to know."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from lib.report.ktap import Writer
from lib.report.model import GOOD, Result, Run
from lib.say import say
from lib.trouble import Trouble


class Supervisor:
    """Takes pieces of the event channel, wherever they come from."""

    def __init__(
        self,
        notes: list[str],
        started: float,
        deadline: float,
        keep: Callable[[Run], None] = lambda run: None,
        events: Path | None = None,
        *,
        ending: float = 0.0,
    ) -> None:
        """`notes` head the report; `started` (time.monotonic()) is when the user pressed enter.

        `deadline` is how long a test may take (s), and what comes before the first. `keep` is
        called at the end; the events go to a file, too, if there is a name for it. The last
        test may take `ending` seconds more, for what is done once at the end of all.
        """
        self.run = Run()
        self._keep = keep
        self._ending = ending
        self._events = events.open("wb") if events else None
        self._writer = Writer(sys.stdout)
        self._notes = notes
        self._started = started
        self._deadline = deadline
        self._partial = b""
        self._first = True
        self._last_event = time.monotonic()

    @property
    def until(self) -> float:
        """When patience ends: of the running test, or of whatever is between tests."""
        last = self.run.announced and len(self.run.pending()) <= 1
        return self._last_event + self._deadline + (self._ending if last else 0.0)

    def feed(self, piece: bytes) -> None:
        """Take what came on the event channel; lines may be cut anywhere."""
        *lines, self._partial = (self._partial + piece).split(b"\n")
        for line in lines:
            if self._events:
                self._events.write(line + b"\n")
                self._events.flush()
            announced = self.run.announced
            results = self.run.feed(line)
            self._last_event = time.monotonic()
            if self.run.tests and not announced:
                self._begin()
            self._report(results)

    def _begin(self) -> None:
        notes = [*self._notes, f"kernel: {self.run.kernel}"]
        if self.run.seed is not None:
            notes.append(f"seed: {self.run.seed}")
        self._writer.begin(self.run.tests, notes)

    def _report(self, results: Iterable[Result]) -> None:
        for result in results:
            if self._first:
                self._first = False
                say(f"first result after {time.monotonic() - self._started:.1f} s")
            self._writer.result(result)

    def lose(self, outcome: str, why: str, lines: list[str]) -> None:
        """The run ends here; every test without a result gets one that is not good.

        `lines` are what is known about it, for the detail of the test that was running.
        """
        detail = "\n".join([why, *lines])
        if self.run.running:
            say(f"{self.run.running}: {outcome}: {why}")
        results = self.run.lose(outcome, why, detail)
        if not self.run.announced:
            self.run.announced = True
            self._begin()
        self._report(results)

    def finish(self, how: str = "pytest ended early") -> int:
        """Close the report and return the exit status; `how` the run ended, if early."""
        if self.run.pending():
            self.lose("crashed", how, [])
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


def verdict(supervisor: Supervisor, status: int, output: bytes) -> int:
    """Return the exit status of a run that pytest ended itself with `status`."""
    if supervisor.run.announced and supervisor.run.tests:
        # 128 + n is how a shell has it, -n how Python does.
        number = -status if status < 0 else status - 128
        how = f"pytest ended early, with status {status}"
        if number in set(signal.Signals):
            how = f"pytest was killed by {signal.Signals(number).name}"
        return supervisor.finish(how)
    # Nothing was collected: what pytest printed says why.
    for line in output.decode(errors="replace").splitlines()[-40:]:
        print(line, file=sys.stderr)
    if status == 5:
        raise Trouble("no test matches what was asked for")
    raise Trouble(f"pytest could not start (status {status}); see above")
