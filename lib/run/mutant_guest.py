# SPDX-License-Identifier: GPL-2.0
"""Run tests on a mutant: a warm guest, the mutant's number, pytest, and what the guest says."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lib.mutants.watch import Watch
from lib.report.model import Result
from lib.run import suite
from lib.run.bytecode import Bytecode
from lib.run.in_guest import SUITE, environment, prepare_machine
from lib.run.options import Options
from lib.trouble import Trouble
from lib.vm import qemu
from lib.vm.guest import Guest, GuestLost
from lib.vm.kbuild import Kernel

_SWITCH = "/sys/kernel/debug/zctap_mutant"
# Of one mutant: one that takes so many guests is not worth another.
_LOSSES = 20
# A machine that ended for a reason of its own says nothing: that often it may.
_FALSE_STARTS = 3
# A test on a mutant may take so many times what it takes else, and these seconds (with KVM).
_FACTOR, _LEAST, _BETWEEN = 10.0, 2.0, 8.0
# Seconds for a single wait of a test: most of those that reach it have noticed the mutant.
_LONGEST_WAIT = 60.0


class Stopped(Trouble):
    """The user does not want to know any more."""

    def __init__(self) -> None:
        super().__init__("the run is being stopped")


@dataclass
class Trial:
    """What tests made of a mutant, or of none."""

    bad: list[Result] = field(default_factory=list)
    results: dict[str, Result] = field(default_factory=dict)
    contract: dict[str, list[str]] = field(default_factory=dict)
    seconds: float = 0.0  # up to the first bad one, if there is one
    lost: bool = False  # the last guest, and who was to run after that has not


class Bench:
    """The warm guests of one kernel with mutants; for several threads."""

    def __init__(self, options: Options, kernel: Kernel) -> None:
        """Make the guest's image if need be. Raises Trouble."""
        self.kernel = kernel
        self.machine = prepare_machine(kernel)
        self._options = suite.seeded(options)
        self._selection = suite.select([])
        if kernel.uapi:
            self._selection.extra["uapi/io_uring.h"] = kernel.uapi
        self._bytecode = Bytecode(str(self.machine.root))
        self.pack()

    def pack(self) -> None:
        """Make the archive for guests, with all that earlier ones have compiled."""
        self._archive = suite.archive(self._selection.extra, self._bytecode)

    def deadline(self, durations: Mapping[str, float]) -> Callable[[str], float]:
        """Return what gives a test's deadline by how long it took without a mutant."""
        least = _LEAST * self.machine.patience

        def seconds(test: str) -> float:
            known = durations.get(test)
            if known is None:
                return self._options.timeout or self.machine.test_deadline
            return least + _FACTOR * known

        return seconds

    def run(
        self,
        number: int,
        stages: list[list[str]],
        deadline: Callable[[str], float],
        *,
        full: bool,
        guests: int = _LOSSES,
    ) -> Trial:
        """Run tests on mutant `number`, 0 for none, up to the first that fails unless `full`.

        After so many guests were lost the rest is not run. Raises Trouble, Stopped.
        """
        started = time.monotonic()
        trial = Trial()
        losses = misfits = 0
        stages = [stage for stage in stages if stage]
        while stages:
            watch = Watch(
                [test for stage in stages for test in stage],
                deadline,
                _BETWEEN * self.machine.patience,
            )
            lost = self._attempt(number, stages, watch, full=full)
            trial.results |= watch.run.results
            trial.contract |= watch.run.contract
            trial.bad += watch.bad
            if trial.bad and not trial.seconds:
                trial.seconds = watch.noticed - started
            if not lost or (trial.bad and not full):
                break
            losses += bool(watch.bad)
            misfits += not watch.bad
            if misfits >= _FALSE_STARTS:
                raise Trouble(f"no guest for mutant {number:#x}: {lost}")
            stages = [rest] if (rest := watch.rest) else []
            if losses >= guests and stages:
                trial.lost = True
                break
        trial.seconds = trial.seconds or time.monotonic() - started
        return trial

    def _attempt(self, number: int, stages: list[list[str]], watch: Watch, *, full: bool) -> str:
        """Run pytest in a guest; return what became of the guest, "" if nothing did."""
        if qemu.stopping():
            raise Stopped
        with Guest(self.machine, snapshot=self._options.snapshot) as guest:
            try:
                self._choose(guest, number)
                guest.put(self._archive, SUITE)
                guest.put(suite.listing(suite.staged(stages)), SUITE)
                words = suite.pytest_arguments(
                    self._options, self._selection.guest, only=suite.ONLY
                )
                words += [] if full else ["-x"]
                guest.start(["pytest", *words], environment(self.kernel, _LONGEST_WAIT), SUITE)
                watch.begin()
                status = _follow(guest, watch)
                early = not watch.run.ended
                if early and not watch.run.announced and status in (3, 4):
                    raise Trouble(f"pytest could not start (status {status})")
                if early:
                    watch.lose("crashed", f"pytest ended early, with status {status}")
                    return "pytest crashed"
                if number == 0:
                    self._bytecode.keep(guest.get(SUITE, ".pyc"))
            except GuestLost as err:
                if qemu.stopping():
                    raise Stopped from err
                watch.lose(err.kind, str(err))
                return str(err)
        return ""

    def _choose(self, guest: Guest, number: int) -> None:
        """Tell the kernel which mistake to make. Raises Trouble, GuestLost."""
        words = ["bash", "-c", 'echo "$1" > "$2"', "bash", str(number), _SWITCH]
        guest.start(words, {})
        until = time.monotonic() + self.machine.answer_deadline
        what, piece = guest.next(until)
        while what != "exit":
            what, piece = guest.next(until)
        if int(piece):
            raise Trouble(f"the kernel has no {_SWITCH}: it was not built for mutants")


def _follow(guest: Guest, watch: Watch) -> int:
    """Feed the watch until pytest ends; return its status. Raises GuestLost."""
    while True:
        what, piece = guest.next(watch.until)
        if what == "event":
            watch.feed(piece)
        elif what == "exit":
            return int(piece)
