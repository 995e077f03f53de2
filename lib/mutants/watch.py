# SPDX-License-Identifier: GPL-2.0
"""A pytest that runs on a mutant, seen through its events: what it says, how long to wait."""

from __future__ import annotations

import time
from collections.abc import Callable

from lib.report.model import GOOD, NOT_THE_KERNEL, Result, Run


class Watch:
    """Takes pieces of an event channel."""

    def __init__(self, tests: list[str], deadline: Callable[[str], float], between: float) -> None:
        """`deadline` gives a test's seconds, `between` is for what is between tests."""
        self.run = Run(name="guest", left=list(tests))
        self._deadline = deadline
        self._between = between
        self._partial = b""
        self.noticed = 0.0  # when the first result came that speaks against the kernel
        self.begin()

    def begin(self) -> None:
        """Patience begins to run out now."""
        self._last = time.monotonic()

    @property
    def until(self) -> float:
        """When patience ends, as time.monotonic() has it."""
        running = self.run.running
        return self._last + (self._deadline(running) if running else self._between)

    def feed(self, piece: bytes) -> None:
        """Take what came; lines may be cut anywhere."""
        *lines, self._partial = (self._partial + piece).split(b"\n")
        for line in lines:
            self.run.feed(line)
            self._last = time.monotonic()
        self._look()

    def _look(self) -> None:
        if not self.noticed and self.bad:
            self.noticed = time.monotonic()

    def lose(self, kind: str, why: str) -> None:
        """The guest is gone: whoever was running, or is next, has noticed something."""
        if kind == "silent" and self.run.running:
            kind, why = "timeout", f"no end after {self._deadline(self.run.running):.0f} s"
        self.run.lose_one(kind, why)
        self._look()

    @property
    def rest(self) -> list[str]:
        """The tests that have no result which says anything."""
        told = {name for name, one in self.run.results.items() if one.outcome not in NOT_THE_KERNEL}
        return [test for test in [*self.run.tests, *self.run.left] if test not in told]

    @property
    def bad(self) -> list[Result]:
        """The results that speak against the kernel, in the order they came."""
        good = (*GOOD, "skipped", *NOT_THE_KERNEL)
        return [result for result in self.run.results.values() if result.outcome not in good]
