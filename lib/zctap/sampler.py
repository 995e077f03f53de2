# SPDX-License-Identifier: GPL-2.0
"""Looking at an ifq's debugfs while it works: what must hold at every moment, not only at rest."""

import threading
import time
from dataclasses import astuple, dataclass
from types import TracebackType

from lib.zctap.debugfs import Accounting, Counters, Entry, PageRefs

INTERVAL = 0.002  # seconds between two looks: a look takes about as long under emulation
_REFS_EVERY = 8  # looks; `refs` has a line for each page and takes longest to read
_FAULTS = 5  # that a report shows


@dataclass(frozen=True)
class Sample:
    """One look. `time` is time.monotonic()'s."""

    time: float
    accounting: Accounting
    counters: Counters


def wrong_accounting(seen: Accounting, pages: int) -> str:
    """What is wrong with a snapshot of a region of `pages` pages, "" if nothing is."""
    if seen.pages != pages:
        return f"pages (DBG-3): the region has {pages}, {seen}"
    if min(astuple(seen)) < 0:
        return f"negative (BUF-4): {seen}"
    return "" if seen.conserved else f"not conserved (BUF-4): {seen}"


def wrong_counters(before: Counters, now: Counters) -> str:
    """Whether a counter has gone backwards, "" if none has."""
    if min(astuple(now - before)) < 0:
        return f"went backwards (DBG-5): {before} -> {now}"
    return ""


def wrong_refs(lines: list[PageRefs], pages: int) -> str:
    """What no moment excuses in `refs`, "" if there is nothing of that kind.

    Unlike the accounting it need not be a snapshot, so lines are only looked at one by one.
    """
    seen = set()
    for line in lines:
        if not 0 <= line.page < pages:
            return f"no such page (DBG-4): {line}"
        if line.page in seen:
            return f"a page twice (DBG-4): {line}"
        seen.add(line.page)
        if min(line) < 0 or line.driver > 1:
            return f"impossible references (BUF-2): {line}"
        if not any(line[1:]):
            return f"a line without a reference (DBG-4): {line}"
    return ""


class Sampler:
    """A thread that looks until it is stopped, or the region is gone; a context manager.

    samples: all of them, oldest first. faults: what was wrong, with its sample's number. stop()
    takes a last look and raises AssertionError if there were faults.
    """

    def __init__(self, entry: Entry, pages: int, interval: float = INTERVAL) -> None:
        self.entry, self.pages, self.interval = entry, pages, interval
        self.samples: list[Sample] = []
        self.faults: list[str] = []
        self.gone = False  # the directory went away meanwhile
        self._unread = ""  # the first read that failed, until one works again
        self._over = threading.Event()
        self._look()
        self._thread = threading.Thread(target=self._watch, name="sampler", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not (self.gone or self._over.wait(self.interval)):
            self._look()

    def _look(self) -> None:
        try:
            self._take()
        except OSError as error:
            # The last release takes the files away, one by one, and then the directory.
            self._unread = self._unread or f"sample {len(self.samples)}: {error}"
            self.gone = not self.entry.exists()
            return
        except ValueError as error:
            self.faults.append(f"sample {len(self.samples)}: {error}")
        if self._unread:
            self.faults.append(f"a read failed, and not because all is gone: {self._unread}")
            self._unread = ""

    def _take(self) -> None:
        sample = Sample(time.monotonic(), self.entry.accounting(), self.entry.counters())
        found = [wrong_accounting(sample.accounting, self.pages)]
        if self.samples:
            found.append(wrong_counters(self.samples[-1].counters, sample.counters))
        if len(self.samples) % _REFS_EVERY == 0:
            found.append(wrong_refs(self.entry.refs(), self.pages))
        self.faults += [f"sample {len(self.samples)}: {text}" for text in found if text]
        self.samples.append(sample)

    def stop(self) -> list[Sample]:
        """End it: the samples. Raises AssertionError with the first faults."""
        if not self._over.is_set():
            self._over.set()
            self._thread.join()
            if not self.gone:
                self._look()
        if self.faults:
            shown = "\n".join(self.faults[:_FAULTS])
            raise AssertionError(
                f"{len(self.faults)} faults in {len(self.samples)} samples, the first:\n{shown}"
            )
        return self.samples

    def __enter__(self) -> "Sampler":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        except AssertionError:
            if kind is None:
                raise
