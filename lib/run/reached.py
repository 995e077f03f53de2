# SPDX-License-Identifier: GPL-2.0
"""Coverage of a run: asked for, brought from the guest, written down."""

from __future__ import annotations

from pathlib import Path

from lib.coverage import counters, gcov
from lib.run.options import Options
from lib.say import say
from lib.trouble import Trouble
from lib.vm.guest import Guest
from lib.vm.kbuild import Kernel


def check(options: Options, kernel: Kernel) -> None:
    """Raise Trouble if coverage was asked for and cannot be had."""
    if options.coverage and not kernel.notes:
        raise Trouble(f"--coverage: nothing is kept of the build of {kernel.image}")


def end(options: Options, kernel: Kernel, guest: Guest) -> list[str]:
    """Write the reports; return the lines that sum them up. Raises GuestLost, Trouble."""
    if not options.coverage or not kernel.notes:
        return []
    found = gcov.read(counters.fetch(guest), kernel.notes)
    where: Path = options.coverage.resolve()
    gcov.write(found, kernel.notes, where)
    say(f"coverage: {where}/html/index.html, {where}/missing.txt, {where}/summary.json")
    return [f"coverage: {group}" for group in found.groups]
