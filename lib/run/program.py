# SPDX-License-Identifier: GPL-2.0
"""Run a module of the suite that is no test, in a guest or here, and follow what it prints."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from lib.run import guest_card, outputs, suite
from lib.run.bytecode import Bytecode
from lib.run.in_guest import SUITE, describe, environment, prepare_machine, start
from lib.run.options import Options
from lib.say import say
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
    """The running kernel."""

    def __init__(self) -> None:
        self.facts = outputs.facts(profile="host", device="a veth pair, in network namespaces")

    def run(self, module: str, arguments: Sequence[str], feed: Feed) -> int:
        """As in Place."""
        command = [sys.executable, "-m", module, *arguments]
        with subprocess.Popen(command, cwd=suite.ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout
            while piece := os.read(process.stdout.fileno(), 65536):
                feed(piece)
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
