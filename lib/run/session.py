# SPDX-License-Identifier: GPL-2.0
"""One pytest, seen through its event channel: what it says, and when patience with it ends."""

from __future__ import annotations

import time

from lib.report.model import Run
from lib.run.supervise import Supervisor


class Lost(Exception):
    """pytest is gone, or has to be given up.

    `kind` is one of model.LOST, `lines` are what is known about it.
    """

    def __init__(self, kind: str, why: str, lines: list[str]) -> None:
        super().__init__(why)
        self.kind = kind
        self.lines = lines


class Session:
    """Takes pieces of an event channel, wherever they come from, and tells the supervisor."""

    def __init__(
        self,
        supervisor: Supervisor,
        name: str,
        deadline: float,
        *,
        starting: float = 0.0,
        ending: float = 0.0,
        rest: list[str] | None = None,
    ) -> None:
        """`deadline` is how long a test may take (s).

        What comes before the first has `starting` seconds if that is more, and the last one
        `ending` seconds on top, for what is done once at the end of all.
        `name` is what gets the blame when there is no test to take it. A session that goes on
        for another has the `rest` of that one's tests, and modules of which no test is known.
        """
        known = [entry for entry in rest or [] if "::" in entry]
        modules = [entry for entry in rest or [] if "::" not in entry]
        self.run = Run(name=name, tests=known, left=modules)
        self._goes_on = rest is not None
        self._supervisor = supervisor
        self._deadline = deadline
        self._starting = max(starting, deadline)
        self._ending = ending
        self._partial = b""
        self.begin()

    def begin(self) -> None:
        """Patience begins to run out now: what came before was not pytest's."""
        self._last_event = time.monotonic()

    @property
    def until(self) -> float:
        """When patience ends: of the running test, or of whatever is between tests."""
        pending = len(self.run.pending())
        if not self.run.announced or (self.run.left and not pending):
            return self._last_event + self._starting
        last = pending <= 1 and not self.run.left
        return self._last_event + self._deadline + (self._ending if last else 0.0)

    def feed(self, piece: bytes) -> None:
        """Take what came on the event channel; lines may be cut anywhere."""
        *lines, self._partial = (self._partial + piece).split(b"\n")
        for line in lines:
            stages = self.run.stages
            results = self.run.feed(line)
            self._last_event = time.monotonic()
            self._supervisor.heard(self.run.name, line)
            if self.run.stages > stages:
                self._supervisor.announced(self.run, instead=self._goes_on)
            self._supervisor.results(results)

    def lose(self, lost: Lost, *, all_of_it: bool) -> list[str]:
        """The session ends here; return what is left without a verdict: tests, and modules
        of which none is known yet.

        The test that was running, or was next, gets one that is not good; with `all_of_it` the
        others get "not run", and none is left.
        """
        lose = self.run.lose if all_of_it else self.run.lose_one
        results = lose(lost.kind, str(lost), "\n".join([str(lost), *lost.lines]))
        # If nobody knew of a test, one that stands for the session itself has to be announced.
        self._supervisor.announced(self.run, instead=not self.run.announced and not all_of_it)
        self._supervisor.judged(results)
        self.end()
        left, self.run.left = [*self.run.pending(), *self.run.left], []
        return left

    def end(self) -> None:
        """The channel has closed: what it brought that it should not have is told."""
        complaints = self.run.complaints
        if self._partial and self.run.ended:
            complaints.append(f"a line that has no end: {self._partial[:120]!r}")
        self._supervisor.complain(complaints)
