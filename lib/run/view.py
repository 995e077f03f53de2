# SPDX-License-Identifier: GPL-2.0
"""What people see of a run while it runs: a line of progress, and failures as they come.

All of it is on stderr. A bar is only for a terminal that nothing else writes to: KTAP may, if it
is this process that does so, but not what a pipe's reader prints.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Iterable, Mapping
from typing import NoReturn, TextIO, cast

from tqdm import tqdm

from lib.report.gist import gist
from lib.report.ktap import clean
from lib.report.model import GOOD, Result
from lib.report.progress import Progress, clock
from lib.say import say, say_by

# In a log, one line at most this often (s).
_LOG_EVERY = 30.0
_BAR = "{desc} {percentage:3.0f}%|{bar:30}| {n_fmt}/{total_fmt}{postfix}"


class View:
    """Lines in a log. Not safe by itself for several threads: the supervisor has a lock."""

    def __init__(
        self, durations: Mapping[str, float], guests: int = 1, modules: Iterable[str] = ()
    ) -> None:
        """`durations` are those of the last run (s), `modules` what will be run for certain."""
        self.progress = Progress(durations, guests)
        self.progress.expect(modules)
        self._started = self._shown = time.monotonic()

    @property
    def out(self) -> TextIO:
        """Where KTAP goes."""
        return sys.stdout

    def begin(self) -> None:
        """The report begins; the first tests may have been run already."""

    def announce(self, tests: list[str]) -> None:
        """Tests will be run, those that are known already among them."""
        self.progress.announce(tests)

    def result(self, result: Result, *, printed: bool) -> None:
        """A test is done; `printed`: KTAP has it, and did not put it aside."""
        self.progress.add(result)
        self._progress()
        # Nobody has to be told twice, on one terminal.
        seen = printed and sys.stdout.isatty() and sys.stderr.isatty()
        if result.outcome not in (*GOOD, "skipped") and not seen:
            self._notice(result)

    def _notice(self, result: Result) -> None:
        if result.outcome == "not run":
            return  # the one that took the guest along has been told
        say(f"{result.outcome}: {clean(result.id)}")
        for line in gist(result):
            say(f"    {clean(line)}")

    def _progress(self) -> None:
        now = time.monotonic()
        if now - self._shown > _LOG_EVERY:
            self._shown = now
            done = f"{self.progress.done} of {self.progress.total}"
            say(f"tests: {', '.join([done, *self._words()])}")

    def _words(self) -> list[str]:
        left = clock(self.progress.left(time.monotonic() - self._started))
        return [*filter(None, [self.progress.counts()]), f"{left} left"]

    def close(self) -> None:
        """The run is over."""


class Terminal(View):
    """A bar at the bottom of a terminal; whatever this process prints goes above it."""

    def __init__(
        self, durations: Mapping[str, float], guests: int = 1, modules: Iterable[str] = ()
    ) -> None:
        super().__init__(durations, guests, modules)
        self._bar: tqdm[NoReturn] | None = None

    @property
    def out(self) -> TextIO:
        """Where KTAP goes: above the bar, if it is the same terminal."""
        return cast(TextIO, _Above(sys.stdout)) if sys.stdout.isatty() else sys.stdout

    def begin(self) -> None:
        """Show the bar."""
        self._bar = tqdm(
            total=self.progress.total,
            desc="tests",
            bar_format=_BAR,
            leave=False,
            dynamic_ncols=True,
        )
        say_by(lambda line: tqdm.write(line, file=sys.stderr))

    def announce(self, tests: list[str]) -> None:
        """Make the bar that much longer."""
        super().announce(tests)
        self._update()

    def _progress(self) -> None:
        self._update()

    def _update(self) -> None:
        if self._bar is not None:
            self._bar.total = self.progress.total
            self._bar.set_postfix_str(", ".join(self._words()), refresh=False)
            self._bar.update(self.progress.done - self._bar.n)

    def close(self) -> None:
        """Take the bar away."""
        say_by(None)
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class _Above:
    """A stream to the terminal that a bar may be on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, with the bar out of the way."""
        with tqdm.external_write_mode(file=self._stream):
            written = self._stream.write(text)
            self._stream.flush()
        return written

    def flush(self) -> None:
        """Nothing is kept back."""


def view(durations: Mapping[str, float], guests: int = 1, modules: Iterable[str] = ()) -> View:
    """Return what suits the place that stderr goes to."""
    kind = Terminal if sys.stderr.isatty() and not _is_read(1) else View
    return kind(durations, guests, modules)


def _is_read(descriptor: int) -> bool:
    """Whether another process gets what is written there, and may print it on the terminal."""
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.environ.get("TERM") == "dumb"
