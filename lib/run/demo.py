# SPDX-License-Identifier: GPL-2.0
"""`demo`: run selftests/zctap/demo.py, in a guest or here, and pass on what it prints."""

from __future__ import annotations

import subprocess
import sys
import time

from lib.run import suite
from lib.run.bytecode import Bytecode
from lib.run.in_guest import SUITE, environment, prepare_machine, start
from lib.run.options import Options
from lib.say import say
from lib.vm import death
from lib.vm.guest import Guest, GuestLost
from lib.vm.kbuild import Kernel

_MODULE = "selftests.zctap.demo"


def on_host(options: Options) -> int:
    """Run it on the running kernel; return its exit status."""
    command = [sys.executable, "-m", _MODULE, *_arguments(options)]
    return subprocess.run(command, cwd=suite.ROOT, check=False).returncode


def in_guest(options: Options, kernel: Kernel) -> int:
    """Run it in a guest; return its exit status, 1 if the guest is lost. Raises Trouble."""
    machine = prepare_machine(kernel)
    extra = {"uapi/io_uring.h": kernel.uapi} if kernel.uapi else {}
    archive = suite.archive(extra, Bytecode(str(machine.root)))
    with start(machine, snapshot=options.snapshot) as guest:
        try:
            guest.put(archive, SUITE)
            command = ["python3", "-m", _MODULE, *_arguments(options)]
            guest.start(command, environment(kernel), SUITE)
            return _pass_on(guest, machine.test_deadline)
        except GuestLost as err:
            for line in death.excerpt(guest.log()):
                say(f"console: {line}")
            say(f"{err}; its console: {guest.console}")
            return 1


def _pass_on(guest: Guest, deadline: float) -> int:
    """Print what the demo prints, until it ends; return its exit status. Raises GuestLost."""
    while True:
        # It has something to say every second.
        what, piece = guest.next(time.monotonic() + deadline)
        if what == "output":
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        elif what == "exit":
            return int(piece)


def _arguments(options: Options) -> list[str]:
    words = [f"--dump={options.dump}"]
    if options.bytes:
        words += [f"--bytes={options.bytes}"]
    return words
