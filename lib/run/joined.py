# SPDX-License-Identifier: GPL-2.0
"""A guest with a card that QEMU emulates, and another guest at the other end of the cable."""

from __future__ import annotations

import socket
import time
from dataclasses import replace

from lib.trouble import Trouble
from lib.vm.guest import Guest
from lib.vm.machine import Machine

MACS = ("52:54:00:5a:c7:02", "52:54:00:5a:c7:01")  # ours, the other end's
_OTHER = "virtio-net-pci"  # whatever ours is


class Joined(Guest):
    """The guest with the card; a context manager that ends both. Raises Trouble."""

    def __init__(self, machine: Machine, *, snapshot: bool = True) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            on = replace(machine, nic=_OTHER, mac=MACS[1])
            self.other = Guest(on, snapshot=snapshot, network=theirs)
            try:
                super().__init__(machine, snapshot=snapshot, network=ours)
            except BaseException:
                self.other.qemu.kill()
                raise

    def __exit__(self, *exc: object) -> None:
        try:
            super().__exit__(*exc)
        finally:
            self.other.qemu.kill()


def with_card(machine: Machine, nic: str) -> Machine:
    """Return the machine with such a card."""
    return replace(machine, nic=nic, mac=MACS[0])


def run_script(guest: Guest, script: str, seconds: float, until: bytes = b"") -> None:
    """Run a script in a guest to its end, or until it has said something, and let it go on then.

    Raises GuestLost; Trouble if it fails, or is not done within so many seconds.
    """
    guest.start(["bash", "-ec", script], {})
    output, limit = b"", time.monotonic() + seconds
    while True:
        what, piece = guest.next(limit)
        if what == "output":
            output += piece
            if until and until in output:
                return
        elif what == "exit":
            if until or int(piece):
                said = output.decode(errors="replace").strip().splitlines()
                raise Trouble(f"the guest cannot make the card: {' '.join(said[-1:])}")
            return
