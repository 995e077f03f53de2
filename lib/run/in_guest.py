# SPDX-License-Identifier: GPL-2.0
"""Run the suite in a guest."""

from __future__ import annotations

from lib.run import known, suite
from lib.run.bytecode import Bytecode
from lib.run.options import Options
from lib.run.reached import check, end
from lib.run.supervise import Supervisor, verdict
from lib.say import say
from lib.vm import image, machine, qemu
from lib.vm.guest import Guest, GuestLost, tail
from lib.vm.kbuild import Kernel

_SUITE = "/suite"


def prepare_machine(kernel: Kernel, extra: str = "") -> machine.Machine:
    """Return the machine for a kernel; makes the guest's image if need be. Raises Trouble.

    `extra` is for the kernel's command line.
    """
    return machine.Machine(
        kernel=kernel.image,
        root=image.image(),
        accel=qemu.accelerator(kernel.image),
        profile=kernel.profile,
        cpus=machine.cpus(),
        extra=extra,
    )


def start(options: Options, kernel: Kernel) -> Guest:
    """Return a guest and say how it came about. Raises Trouble."""
    extra = "kmemleak=on" if options.kmemleak else ""
    guest = Guest(prepare_machine(kernel, extra), snapshot=options.snapshot)
    for remark in guest.remarks:
        say(f"guest: {remark}")
    say(f"guest: {guest.origin} in {guest.seconds:.1f} s ({guest.machine.accel})")
    return guest


def send(guest: Guest, kernel: Kernel, paths: list[str], bytecode: Bytecode) -> list[str]:
    """Send the suite; return the tests of `paths` as they are called in the guest."""
    selection = suite.select(paths)
    if kernel.uapi:
        selection.extra["uapi/io_uring.h"] = kernel.uapi
    guest.put(suite.archive(selection.extra, bytecode), _SUITE)
    return selection.guest


def environment(kernel: Kernel) -> dict[str, str]:
    """Return what a command in the guest finds in its environment."""
    found = {"PYTHONPATH": _SUITE, "ZCTAP_VM": kernel.profile}
    if kernel.uapi:
        found["ZCTAP_UAPI"] = f"{_SUITE}/uapi/io_uring.h"
    return found


def run(options: Options, kernel: Kernel, started: float) -> int:
    """Run the suite; return the exit status. Raises Trouble before the first test only."""
    check(options, kernel)
    guest = start(options, kernel)
    with guest:
        bytecode = Bytecode(str(guest.machine.root))
        tests = send(guest, kernel, options.paths, bytecode)
        notes = [f"guest: {guest.origin}", f"profile: {kernel.profile} ({kernel.version})"]
        deadline = options.timeout or guest.machine.test_deadline
        keep = known.keeper(kernel.key, kernel.profile)
        # Up to three scans of all memory, see lib/kmemleak.py.
        ending = 12 * guest.machine.patience if options.kmemleak else 0.0
        supervisor = Supervisor(notes, started, deadline, keep, options.events, ending=ending)
        argv = ["pytest", *suite.pytest_arguments(options, tests)]
        output = b""
        try:
            guest.start(argv, environment(kernel), _SUITE)
            while True:
                what, piece = guest.next(supervisor.until)
                if what == "event":
                    supervisor.feed(piece)
                elif what == "output":
                    output = (output + piece)[-65536:]
                else:
                    break
            bytecode.keep(guest.get(_SUITE, ".pyc"))
            reached = end(options, kernel, guest)
        except GuestLost as err:
            said = guest.abort() if err.kind == "timeout" else None
            why = str(err) if said is None else "the test hangs, the guest does not"
            lines = [f"console: {line}" for line in tail(guest.console)]
            lines += (said or "").splitlines()[-60:]
            for line in lines:
                say(line)
            say(f"{why}; its console: {guest.console}")
            supervisor.lose(err.kind, why, lines)
            return supervisor.finish()
        except KeyboardInterrupt:
            supervisor.lose("interrupted", "interrupted", [])
            supervisor.finish()
            raise
    status = verdict(supervisor, int(piece), output)
    for line in reached:
        print(f"# {line}")
    return status
