# SPDX-License-Identifier: GPL-2.0
"""Follow a run by its sessions: the model, KTAP, and what people want to know."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TextIO, cast

from lib.report.ktap import Writer, clean
from lib.report.model import GOOD, Result, Run, module_of
from lib.run.eventfile import EventFile
from lib.run.streams import Report, Unwritable, complain
from lib.run.view import View
from lib.say import say
from lib.trouble import Trouble
from lib.zctap.probe import NO_ZCTAP


class Supervisor:
    """Puts the sessions of any number of guests together; for use by several threads."""

    def __init__(
        self,
        notes: list[str],
        started: float,
        keep: Sequence[Callable[[Run], None]] = (),
        events: EventFile | None = None,
        *,
        sessions: int = 1,
        modules: Iterable[str] | None = None,
        bisecting: bool = False,
        view: View | None = None,
        facts: dict[str, str] | None = None,
        totals: bool = False,
    ) -> None:
        """`notes` head the report; `started` (time.monotonic()) is when the user pressed enter.

        Each of `keep` is called at the end; it may raise Trouble. `events` go to a file, too.
        The report begins when as many `sessions` have announced tests, or with the first of them
        if it is known that these `modules` will be run, all of them. `facts` are what is known of
        the run beforehand. With `bisecting` it is Trouble if what went wrong says nothing about
        the kernel. `totals` end the report.
        """
        self.run = Run(facts=facts or {})
        self._keep = keep
        self._events = events or EventFile(None)
        self._view = view or View({})
        self._out = Report(self._view.out)
        self._writer = Writer(cast(TextIO, self._out))
        self._notes = notes
        self._started = started
        self._modules = list(modules or [])
        self._expected = 1 if self._modules else sessions
        self._bisecting = bisecting
        self._totals = totals
        self._heard_of: set[str] = set()
        self._early: list[Result] = []
        self._begun = False
        self._first = True
        self._lock = threading.RLock()
        self._events.facts(self.run.facts)

    def over(self, work: Callable[[], None]) -> int:
        """Do the work, close the report whatever happens, return the exit status.

        Work of which nobody gets to see a report ends, and what is known by then counts. Raises
        Trouble if there was no test.
        """
        try:
            work()
            if not self.run.tests:
                raise Trouble("no test matches what was asked for")
        except Unwritable:
            pass
        except BaseException as err:
            # What has been seen so far is worth as much as ever.
            if self.run.tests or isinstance(err, KeyboardInterrupt):
                self.finish()
            raise
        finally:
            self._view.close()
        status = self.finish()
        if status == 1 and self._bisecting and not self.run.speaks_against_the_kernel():
            raise Trouble("what went wrong is not the kernel's doing: no verdict")
        # That the rest passes is no "good": the commit is older, or of another branch.
        if status == 0 and self._bisecting and self._without_zctap():
            raise Trouble(f"{NO_ZCTAP}: no verdict")
        return status

    def _without_zctap(self) -> int:
        """Return how many tests were skipped for want of zctap."""
        results = self.run.results.values()
        return sum(one.outcome == "skipped" and NO_ZCTAP in one.reason for one in results)

    def heard(self, session: str, line: bytes) -> None:
        """Keep a line of an event channel, with the name of its session."""
        with self._lock:
            self._events.heard(session, line)

    def announced(self, session: Run, *, instead: bool = False) -> None:
        """A session has said what it will run; with `instead`, it goes on with another's tests."""
        with self._lock:
            self.run.join(session)
            if not instead:
                self._heard_of.add(session.name)
            if self._begun:
                self._know(self.run.tests)
            elif len(self._heard_of) >= self._expected:
                self._begin()

    def _begin(self) -> None:
        self._begun = True
        notes = list(self._notes)
        if self.run.kernel:
            notes.append(f"kernel: {self.run.kernel}")
        if self.run.seed is not None:
            notes.append(f"seed: {self.run.seed}")
        # Of a run that ends before it has begun more is known than its modules.
        self._writer.begin(dict.fromkeys([*self._modules, *map(module_of, self.run.tests)]), notes)
        self._view.begin()
        self._know(self.run.tests)
        early, self._early = self._early, []
        self._report(early)

    def _know(self, tests: list[str]) -> None:
        self._writer.announce(tests)
        self._view.announce(tests)

    def results(self, results: Iterable[Result]) -> None:
        """Report results; until every session has announced itself they wait."""
        with self._lock:
            new = list(results)
            self.run.take(new)
            if self._begun:
                self._report(new)
            else:
                self._early += new

    def judged(self, results: Iterable[Result]) -> None:
        """Report results that no session has brought: the host's own."""
        with self._lock:
            new = list(results)
            for result in new:
                self._events.judged(result)
            self.results(new)

    def _report(self, results: Iterable[Result]) -> None:
        for result in results:
            if self._first:
                self._first = False
                say(f"first result after {time.monotonic() - self._started:.1f} s")
            printed = self._writer.result(result)
            self._view.result(result, printed=printed)

    def complain(self, complaints: list[str]) -> None:
        """Take what a channel brought that it should not have; it makes the run fail."""
        with self._lock:
            self.run.complaints += complaints

    def finish(self) -> int:
        """Close the report and return the exit status."""
        with self._lock:
            self._out.closing = True
            if not self._begun:
                self._begin()
            # None should be: each session sees to its own.
            seen = {*map(module_of, self.run.tests), *self.run.empty}
            self.run.left = [module for module in self._modules if module not in seen]
            if self.run.pending() or self.run.left:
                self.judged(self.run.lose("not run", "nobody ran it"))
            for module in self.run.empty:
                self._writer.empty(module)
            self._writer.end()
            self._view.close()
            for complaint in self.run.complaints:
                say(f"event channel: {complaint}")
                self._writer.note(f"event channel: {complaint}")
            for result in self.run.results.values():
                if result.outcome not in (*GOOD, "skipped"):
                    say(f"{result.outcome}: {clean(result.id)}")
            if untested := self._without_zctap():
                # All good, then, but nobody should take it for what it is not.
                say(f"{NO_ZCTAP}: {untested} tests skipped")
                self._writer.note(f"{NO_ZCTAP}: {untested} tests skipped")
            if self._totals:
                self._writer.note(self.run.totals())
            written = [self._kept(keep) for keep in self._keep]
            seconds = time.monotonic() - self._started
            say(f"{self.run.summary()} in {seconds:.1f} s")
            status = self.run.exit_status()
            good = all(written) and not self._events.broken
            if self._out.error:
                complain(self._out.error)
                return 1 if self.run.speaks_against_the_kernel() else 2
            # A failed test is worth more to who asks than a file that is not there.
            return status if good or status == 1 else 2

    def _kept(self, keep: Callable[[Run], None]) -> bool:
        try:
            keep(self.run)
        except (Trouble, OSError) as err:
            say(f"run_tests.py: {err}")
            return False
        return True
