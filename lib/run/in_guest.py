# SPDX-License-Identifier: GPL-2.0
"""Run the suite in guests: whole modules to each, all at once, and a fresh one for a lost one."""

from __future__ import annotations

import itertools
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial

from lib.run import guest_card, known, outputs, shares, suite
from lib.run.bytecode import Bytecode
from lib.run.joined import Joined
from lib.run.options import Options
from lib.run.reached import Reached, check
from lib.run.resume import Attempt, Ended, run_all
from lib.run.session import Lost, Session
from lib.run.supervise import Supervisor
from lib.run.together import together
from lib.run.view import view
from lib.say import say
from lib.trouble import Trouble
from lib.vm import death, image, kconfig, machine, qemu
from lib.vm.decode import decoded
from lib.vm.guest import Guest, GuestLost, is_warm
from lib.vm.kbuild import Kernel

SUITE = "/suite"


def prepare_machine(kernel: Kernel) -> machine.Machine:
    """Return the machine for a kernel; makes the guest's image if need be. Raises Trouble."""
    return machine.Machine(
        kernel=kernel.image,
        root=image.image(),
        accel=qemu.accelerator(kernel.image),
        profile=kernel.profile,
        cpus=machine.cpus(),
        initrd=kernel.initrd,
        modules=kernel.modules,
    )


def start(on: machine.Machine, *, snapshot: bool) -> Guest:
    """Return a guest and say how it came about. Raises Trouble."""
    guest = (Joined if on.nic else Guest)(on, snapshot=snapshot)
    for remark in guest.remarks:
        say(f"guest: {remark}")
    say(f"guest: {guest.origin} in {guest.seconds:.1f} s ({guest.machine.accel})")
    return guest


def environment(kernel: Kernel, longest_wait: float, kmemleak: str = "") -> dict[str, str]:
    """Return what a command in the guest finds in its environment; `kmemleak` as in Options."""
    found = {"PYTHONPATH": SUITE, "ZCTAP_VM": kernel.profile, "ZCTAP_KMEMLEAK": kmemleak}
    found["ZCTAP_CEILING"] = str(longest_wait)
    if kernel.uapi:
        found["ZCTAP_UAPI"] = f"{SUITE}/uapi/io_uring.h"
    return found


class Crew:
    """The guests of a run and what they have in common."""

    def __init__(self, options: Options, kernel: Kernel, selection: suite.Selection) -> None:
        plain = guest_card.fitted(prepare_machine(kernel), options.nic)
        self._kmemleak = _kmemleak(options, plain.accel)
        self.machine = replace(plain, extra="kmemleak=on") if self._kmemleak else plain
        self.reached = Reached(options, kernel)
        # One seed for all guests: the order within a module does not depend on which others
        # are run.
        self._options = suite.seeded(options)
        self.seed = self._options.seed
        self._kernel = kernel
        self._numbers = itertools.count(1)
        self._bytecode = Bytecode(str(self.machine.root))
        if kernel.uapi:
            selection.extra["uapi/io_uring.h"] = kernel.uapi
        self._tests = selection.guest
        self._archive = suite.archive(selection.extra, self._bytecode)
        self.card = guest_card.tested(options.nic)

    @property
    def is_warm(self) -> bool:
        """Whether a guest is there in no time."""
        return self._options.snapshot and is_warm(self.machine)

    def start(self) -> Guest:
        """Return a guest. Raises Trouble."""
        return start(self.machine, snapshot=self._options.snapshot)

    def session(self, supervisor: Supervisor, rest: list[str] | None) -> Session:
        """Return the session of the next guest; `rest` as in Session."""
        return Session(
            supervisor,
            f"guest-{next(self._numbers)}",
            self._options.timeout or self.machine.test_deadline,
            starting=self.machine.test_deadline,
            # Up to three scans of all memory, see lib/kmemleak.py.
            ending=12 * self.machine.patience if self._kmemleak else 0.0,
            rest=rest,
        )

    def attempts(self, first: Guest | None) -> Attempt:
        """Return what runs tests in a guest: the `first` one, then always a fresh one."""
        waiting = [first] if first else []

        def attempt(session: Session, only: list[str] | None) -> Ended:
            return self._run(waiting.pop() if waiting else self.start(), session, only)

        return attempt

    def _run(self, guest: Guest, session: Session, only: list[str] | None) -> Ended:
        """Run tests in a guest, and end it. Raises Lost, Trouble."""
        with guest:
            try:
                guest.put(self._archive, SUITE)
                guest.put(suite.listing(only or []), SUITE)
                arguments = suite.pytest_arguments(self._options, self._tests, only=suite.ONLY)
                env = environment(self._kernel, self.machine.longest_wait, self._kmemleak)
                if self.card:
                    guest_card.make(guest, self._options.nic.card, self.machine.test_deadline)
                    env |= self.card.variables
                guest.start(["pytest", *arguments], env, SUITE)
                session.begin()
                ended = _follow(guest, session)
                if ended.killed and (found := death.of_process(guest.log(), ended.killed)):
                    console = [f"console: {line}" for line in death.excerpt(guest.log())]
                    raise Lost(found.kind, found.why, decoded(console, self._kernel.symbols))
                # It comes from a kernel that may write over anything. What goes to the next guests,
                # of other kernels, is from one that did all that was asked of it.
                if ended.status == 0:
                    with suppress(Trouble, OSError):  # a cache: the run is as good without it
                        self._bytecode.keep(guest.get(SUITE, ".pyc"))
                self.reached.fetch(guest)
            except GuestLost as err:
                raise self._lost(guest, err) from err
        return ended

    def _lost(self, guest: Guest, err: GuestLost) -> Lost:
        """Say what is known about a guest that is lost, or whose test hangs."""
        if qemu.stopping():
            return Lost("interrupted", "interrupted", [])
        kind, why, said, known = err.kind, str(err), "", err.known
        if kind in ("silent", "lockup") and not err.locked:
            try:
                said = guest.abort()
                kind, why = "timeout", "the test hangs, the guest does not"
            except GuestLost as later:
                kind, why, known = later.kind, str(later), later.known
        lines = decoded(known, self._kernel.symbols) + said.splitlines()[-60:]
        for line in lines:
            say(line)
        say(f"{why}; its console: {guest.console}")
        return Lost(kind, why, lines)


def _kmemleak(options: Options, accel: str) -> str:
    """Return when to look for leaked memory: "", at the "end", after each "module".

    With KVM a scan takes a second or so. Under TCG it takes most of a minute, and keeping track of
    memory makes everything half as fast: that is for a run of its own.
    """
    if not options.kmemleak:
        return ""
    if accel == "kvm":
        return "module"
    if options.kmemleak == "auto":
        say("no search for leaked memory, which is slow without KVM: see --kmemleak")
        return ""
    return options.kmemleak


def _follow(guest: Guest, session: Session) -> Ended:
    """Feed the session until pytest ends. Raises GuestLost."""
    output = b""
    while True:
        what, piece = guest.next(session.until)
        if what == "event":
            session.feed(piece)
        elif what == "output":
            output = (output + piece)[-65536:]
        else:
            return Ended(int(piece), output)


def run(options: Options, kernel: Kernel, started: float) -> int:
    """Run the suite; return the exit status. Raises Trouble before the first test only."""
    check(options, kernel)
    selection = suite.select(options.paths)
    modules = suite.modules(selection)
    tests = suite.listed(options, modules)
    crew = Crew(options, kernel, selection)
    durations = known.durations(kernel.key, kernel.profile)
    sizes = {name: modules[name].stat().st_size for name in tests}
    weights = shares.weights(sizes, durations)
    card = [f"card: {crew.card.words}"] if crew.card else []
    device = {"device": crew.card.words} if crew.card else {}
    # If nothing is left out, each module has tests, and need not be looked at beforehand.
    whole = not options.only and options.keyword is None and options.markers is None
    split = shares.split(weights, options.jobs or machine.room_for(crew.machine))

    def lines(share: list[str]) -> list[str]:
        stages = shares.stages(share, weights, crew.seed) if whole else [share]
        return suite.staged([[test for name in stage for test in tests[name]] for stage in stages])

    with ExitStack() as stack:
        # One that has to be booted leaves a snapshot, for which the others wait.
        first = None if crew.is_warm else stack.enter_context(crew.start())
        guests = f"{len(split)}, {first.origin if first else 'restored from a snapshot'}"
        supervisor = Supervisor(
            [f"guests: {guests}", f"profile: {kernel.profile} ({kernel.version})", *card],
            started,
            [
                # What a card has skipped, or what it got wrong, is not the kernel's last word.
                *([] if crew.card else [known.keeper(kernel.key, kernel.profile)]),
                outputs.writer(options, started, _config(kernel)),
            ],
            outputs.events(options),
            sessions=len(split),
            modules=tests if whole else None,
            view=view(durations, len(split), tests if whole else ()),
            bisecting=options.bisect_run,
            facts=outputs.facts(guests=guests, **describe(kernel, crew.machine) | device),
        )
        work = [
            partial(
                run_all,
                crew.attempts(first if number == 0 else None),
                partial(crew.session, supervisor),
                lines(share),
                qemu.stopping,
                lambda: bool(supervisor.run.tests),
            )
            for number, share in enumerate(split)
        ]
        status = supervisor.over(partial(together, work, len(work)))
    try:
        for line in crew.reached.report():
            print(f"# {line}")
    except (Trouble, OSError) as err:
        if status != 1:
            raise
        # A failed test is worth more to who asks.
        say(f"run_tests.py: {err}")
    return status


def describe(kernel: Kernel, on: machine.Machine) -> dict[str, str]:
    """Return what is known of a kernel and of its machine beforehand."""
    accel = {"kvm": "KVM", "tcg": "TCG: emulated, slow"}.get(on.accel, on.accel)
    return {
        "profile": kernel.profile,
        "source": kernel.version,
        "image": str(kernel.image),
        "machine": f"QEMU, {accel}; {on.cpus} processors, {on.memory} MiB",
        "device": "veth pairs, in network namespaces of the guest",
    }


def _config(kernel: Kernel) -> str:
    """Return what became of the options that the profile asks for; "" if nothing is known."""
    if not kernel.config:
        return ""
    have = kconfig.parse(kernel.config.read_text())
    values = {name: have.get(name, "n") for name in kconfig.parse(kconfig.fragment(kernel.profile))}
    return "\n".join(
        f"# {name} is not set" if value == "n" else f"{name}={value}"
        for name, value in values.items()
    )
