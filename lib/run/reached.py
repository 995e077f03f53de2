# SPDX-License-Identifier: GPL-2.0
"""Coverage of a run: asked for, brought from the guest, written down."""

from __future__ import annotations

import tempfile

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
    if options.coverage:
        # Whatever is found later may be worth half an hour.
        try:
            options.coverage.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=options.coverage):
                pass
        except OSError as err:
            said = f"cannot write to {options.coverage}: {err.strerror}"
            raise Trouble(f"--coverage: {said}") from err


class Reached:
    """The counters of all guests of a run."""

    def __init__(self, options: Options, kernel: Kernel) -> None:
        self._where = options.coverage.resolve() if options.coverage else None
        self._notes = kernel.notes
        self._counters: list[dict[str, bytes]] = []

    def fetch(self, guest: Guest) -> None:
        """Bring a guest's counters, if coverage was asked for. Raises GuestLost, Trouble."""
        if self._where:
            self._counters.append(counters.fetch(guest))

    def report(self) -> list[str]:
        """Write the reports; return the lines that sum them up. Raises Trouble."""
        if not self._where or not self._notes:
            return []
        where = self._where
        found = gcov.read(self._counters, self._notes)
        gcov.write(found, self._notes, where)
        say(f"coverage: {where}/html/index.html, {where}/missing.txt, {where}/summary.json")
        return [f"coverage: {group}" for group in found.groups]
