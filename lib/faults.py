# SPDX-License-Identifier: GPL-2.0
"""Fault injection: allocations, and copies from and to user memory, that fail on demand.

Three ways (Documentation/fault-injection/fault-injection.rst). A Shot lets the n-th call that may
fail, counted in the calling thread alone, fail: /proc/thread-self/fail-nth. It reaches what a
system call does itself, and neither softirqs nor kernel workers. atomic_failure() lets one of the
system's next allocations that may not wait fail, wherever it is made: the receive softirq's are of
that sort. cache_failure() does so with those from one slab cache, more than once.
"""

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from lib.cpus import allowed, on_cpu

MEMORY, USERCOPY = "failslab", "fail_usercopy"  # what can fail for longer
PAGES = "fail_page_alloc"

# Directory in debugfs: the option that makes it, and how it has to be set for fail-nth to count
# all that may fail (pages of user memory excepted: those are ours, not the call's). While the
# probability is 0 nothing fails but by fail-nth; and nothing is logged.
_QUIET = {"probability": "0", "verbose": "0", "interval": "1", "space": "0", "task-filter": "Y"}
_SITES = {
    MEMORY: ("CONFIG_FAILSLAB", _QUIET | {"ignore-gfp-wait": "N", "cache-filter": "N"}),
    PAGES: (
        "CONFIG_FAIL_PAGE_ALLOC",
        _QUIET | {"ignore-gfp-wait": "N", "ignore-gfp-highmem": "Y", "min-order": "0"},
    ),
    USERCOPY: ("CONFIG_FAULT_INJECTION_USERCOPY", _QUIET),
}
_PLENTY = 1 << 30
_SIZES = range(16, 513, 16)  # of the objects that the interpreter manages itself

_libc = ctypes.CDLL(None, use_errno=True)
_IN_DELETE_SELF = 0x400


class NoFaults(Exception):
    """This kernel cannot inject faults, or we may not; the text says what is missing."""


class Shot:
    """The n-th fault; run() is called once, and what came of it is kept.

    sites: what was made to fail, empty if the call did not get that far. error: the errno that
    the call raised, 0 if none; value: what it returned.
    """

    def __init__(self, faults: "Faults", n: int, lasting: str = "", times: int = 1) -> None:
        self._faults, self.n, self.lasting, self.times = faults, n, lasting, times
        self.sites: set[str] = set()
        self.error, self.value = 0, None

    def run(self, call: Callable[[], Any]) -> "Shot":
        """Let the n-th call that may fail, from here on, fail, and call `call`.

        An OSError is kept in `error`, any other exception is passed on.
        """
        with self._faults.armed(self):
            try:
                self.value = call()
            except OSError as error:
                self.error = error.errno or 0
        return self

    def __str__(self) -> str:
        what = " and ".join(sorted(self.sites)) or "nothing"
        lasting = f", {self.lasting} for {self.times} times" if self.lasting else ""
        return f"fail-nth {self.n}{lasting}: {what} made to fail, errno {self.error}"


class Faults:
    """Fault injection set up for the calling thread, and as it was before after close().

    Raises NoFaults.
    """

    def __init__(
        self,
        debugfs: Path = Path("/sys/kernel/debug"),
        proc: Path = Path("/proc/thread-self"),
        caches: Path = Path("/sys/kernel/slab"),
    ) -> None:
        self._root, self._caches = debugfs, caches
        for name, (option, _) in _SITES.items():
            if not (debugfs / name / "times").exists():
                raise NoFaults(f"no fault injection: {debugfs / name} is missing ({option})")
        self._undo = contextlib.ExitStack()
        try:
            self._nth = self._open(proc / "fail-nth")
            self._thread = self._open(proc / "make-it-fail")
            for name, (_, settings) in _SITES.items():
                for key, value in (settings | {"times": str(_PLENTY)}).items():
                    self._set(name, key, value, self._undo)
        except OSError as error:
            self._undo.close()
            raise NoFaults(f"no fault injection: {error} (CONFIG_FAULT_INJECTION)") from None
        self._left = dict.fromkeys(_SITES, _PLENTY)

    def _open(self, path: Path) -> int:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._undo.callback(os.close, fd)
        return fd

    def _set(self, name: str, key: str, value: str, undo: contextlib.ExitStack) -> None:
        path = self._root / name / key
        before = path.read_text().strip()
        path.write_text(value)
        undo.callback(path.write_text, before)

    # -- the n-th fault of this thread -----------------------------------------------------

    def shots(self, lasting: str = "", times: int = 1, limit: int = 1000) -> Iterator[Shot]:
        """Shots for n = 1, 2, ..., each to be run before the next; ends after one that missed.

        lasting: MEMORY or USERCOPY, of which the next fail as well, `times` in all at the most.
        """
        for shot in self.chosen(range(1, limit + 1), lasting, times):
            yield shot
            if not shot.sites:
                return
        raise AssertionError(f"there is no end to what can fail: {limit} faults so far")

    def chosen(self, ns: Iterable[int], lasting: str = "", times: int = 1) -> Iterator[Shot]:
        """Shots for these n."""
        with contextlib.ExitStack() as undo:
            if lasting:
                self._set(lasting, "probability", "100", undo)
            for n in ns:
                yield Shot(self, n, lasting, times)

    def count(self, call: Callable[[], Any]) -> int:
        """How many calls that may fail `call` makes; none of them does."""
        os.pwrite(self._nth, b"%d" % _PLENTY, 0)
        try:
            call()
        finally:
            left = int(os.pread(self._nth, 32, 0))
            os.pwrite(self._nth, b"0", 0)
        return _PLENTY - left

    @contextlib.contextmanager
    def armed(self, shot: Shot) -> Iterator[None]:
        """Inside, the shot is armed; afterwards it knows what has failed."""
        if shot.lasting:
            (self._root / shot.lasting / "times").write_text(str(shot.times))
            self._left[shot.lasting] = shot.times
        with on_cpu(allowed()[0]):
            _stock_up()
            # The write that follows copies from us, and so takes part in the count.
            os.pwrite(self._nth, b"%d" % (shot.n + bool(shot.lasting)), 0)
            if shot.lasting:
                os.pwrite(self._thread, b"1", 0)
            try:
                yield
            finally:
                ours = self._insist(self._nth) + self._insist(self._thread)
        for name, before in self._left.items():
            self._left[name] = int((self._root / name / "times").read_text())
            if before - self._left[name] > (ours if name == USERCOPY else 0):
                shot.sites.add(name)

    @staticmethod
    def _insist(fd: int) -> int:
        """Write 0, which copies from us and so may fail itself: how often it has."""
        for failures in range(1000):
            with contextlib.suppress(OSError):
                os.pwrite(fd, b"0", 0)
                return failures
        raise AssertionError("faults cannot be switched off again")

    # -- one fault of the whole system -----------------------------------------------------

    @contextlib.contextmanager
    def atomic_failure(self, after: int) -> Iterator[Callable[[], bool]]:
        """Inside, one slab allocation that may not wait fails, when `after` bytes were allocated.

        Of the whole system: for as short as can be. Gives a function that tells whether it has.
        """
        with contextlib.ExitStack() as undo:
            self._set(MEMORY, "task-filter", "N", undo)
            self._set(MEMORY, "ignore-gfp-wait", "Y", undo)
            self._set(MEMORY, "space", str(after), undo)
            self._set(MEMORY, "times", "1", undo)
            self._set(MEMORY, "probability", "100", undo)
            yield lambda: (self._root / MEMORY / "times").read_text().strip() == "0"

    @contextlib.contextmanager
    def cache_failure(
        self, cache: str, times: int, percent: int = 100
    ) -> Iterator[Callable[[], int]]:
        """Inside, allocations from one slab cache that may not wait fail, in the whole system.

        Each one, or so many of a hundred, until `times` have failed. Gives a function that tells
        how many have. Raises NoFaults where a cache cannot be chosen.
        """
        chosen = self._caches / cache / MEMORY
        with contextlib.ExitStack() as undo:
            try:
                if chosen.read_text().strip() != "1":
                    chosen.write_text("1")
                    undo.callback(chosen.write_text, "0")
            except OSError as error:  # Linux 6.1 takes no word for it after boot
                what = f"one cache cannot be made to fail: {error} (boot with slub_debug=A,{cache})"
                raise NoFaults(what) from None
            self._set(MEMORY, "cache-filter", "Y", undo)
            self._set(MEMORY, "task-filter", "N", undo)
            self._set(MEMORY, "ignore-gfp-wait", "Y", undo)
            self._set(MEMORY, "times", str(times), undo)
            self._set(MEMORY, "probability", str(percent), undo)
            yield lambda: times - int((self._root / MEMORY / "times").read_text())

    def close(self) -> None:
        """Put everything back."""
        self._undo.close()


def _stock_up() -> None:
    """See to it that those who are not meant have the memory they need.

    The interpreter: what is freed here is what it will use, and it need not ask the kernel. The
    kernel's check of DMA mappings (CONFIG_DMA_API_DEBUG), which logs a complaint and gives up for
    good when it gets no node for its radix tree: it resorts to those that idr_preload() leaves on
    each CPU (lib/radix-tree.c), as a new inotify watch does.
    """
    spare = [bytes(size) for size in _SIZES for _ in range(8)]
    del spare
    fd = _libc.inotify_init1(os.O_CLOEXEC)
    if fd >= 0:
        _libc.inotify_add_watch(fd, b"/", _IN_DELETE_SELF)
        os.close(fd)
