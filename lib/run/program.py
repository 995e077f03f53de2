# SPDX-License-Identifier: GPL-2.0
"""Run a module of the suite that is no test, in a guest or here, and follow what it prints."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from lib.run import guest_card, outputs, suite
from lib.run.bytecode import Bytecode
from lib.run.in_guest import SUITE, describe, environment, prepare_machine, start
from lib.run.options import Options
from lib.say import say
from lib.vm.command import mortal
from lib.vm.guest import Guest, GuestLost
from lib.vm.kbuild import Kernel

Feed = Callable[[bytes], None]


def pass_on(piece: bytes) -> None:
    """A Feed: show it as it comes."""
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


class Place(Protocol):
    """Where to run it."""

    facts: dict[str, str]

    def run(self, module: str, arguments: Sequence[str], feed: Feed) -> int:
        """Run it and feed what it prints to a function; its exit status. Raises Trouble."""


class OnHost:
    """The running kernel; and the card that options name, if they do. Raises Trouble."""

    def __init__(self, options: Options) -> None:
        # With pyroute2, which nobody needs who imports this module for a run in a guest.
        from lib.run import host_card

        self._tested = host_card.named(options)
        device = self._tested.words if self._tested else "a veth pair, in network namespaces"
        self.facts = outputs.facts(profile="host", device=device)

    def run(self, module: str, arguments: Sequence[str], feed: Feed) -> int:
        """As in Place. If we are killed so is what runs; 1 if a card is not as it was."""
        tested, left = self._tested, 0
        try:
            variables = tested.variables if tested else {}
            status = _run_here([sys.executable, "-m", module, *arguments], variables, feed)
        finally:  # also if it was killed, or interrupted
            if tested:
                from lib.run import host_card

                left = host_card.put_back(tested)
        return status or left


def _run_here(command: list[str], variables: Mapping[str, str], feed: Feed) -> int:
    """Run it to its end, also if that is asked for; its exit status."""
    interrupted = False
    with subprocess.Popen(
        [*mortal("KILL"), *command],
        cwd=suite.ROOT,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        # A terminal's ^C is for us: a second one would interrupt how it tidies up.
        start_new_session=True,
    ) as process:
        assert process.stdout
        while True:
            try:
                if not (piece := os.read(process.stdout.fileno(), 65536)):
                    break
                feed(piece)
            except KeyboardInterrupt:
                if interrupted:
                    process.kill()
                    raise
                # It has more to say: how far it has got.
                interrupted = True
                process.send_signal(signal.SIGINT)
    if interrupted:
        raise KeyboardInterrupt
    return process.returncode


class InGuest:
    """A guest with that kernel. Raises Trouble."""

    def __init__(self, options: Options, kernel: Kernel) -> None:
        self._options, self._kernel = options, kernel
        self._machine = guest_card.fitted(prepare_machine(kernel), options.nic)
        self.facts = outputs.facts(**describe(kernel, self._machine))

    def run(self, module: str, arguments: Sequence[str], feed: Feed) -> int:
        """As in Place; 1 if the guest is lost."""
        kernel = self._kernel
        extra = {"uapi/io_uring.h": kernel.uapi} if kernel.uapi else {}
        archive = suite.archive(extra, Bytecode(str(self._machine.root)))
        with start(self._machine, snapshot=self._options.snapshot) as guest:
            try:
                guest.put(archive, SUITE)
                if self._options.nic.card:
                    seconds = self._machine.test_deadline
                    guest_card.make(guest, self._options.nic.card, seconds)
                env = environment(kernel, self._machine.longest_wait)
                if card := guest_card.tested(self._options.nic):
                    env |= card.variables
                guest.start(["python3", "-m", module, *arguments], env, SUITE)
                return _follow(guest, self._machine.test_deadline, feed)
            except GuestLost as err:
                for line in err.known:
                    say(line)
                say(f"{err}; its console: {guest.console}")
                return 1


def _follow(guest: Guest, deadline: float, feed: Feed) -> int:
    """Feed until it ends; its exit status. Raises GuestLost if it says nothing for so long."""
    while True:
        what, piece = guest.next(time.monotonic() + deadline)
        if what == "output":
            feed(piece)
        elif what == "exit":
            return int(piece)
