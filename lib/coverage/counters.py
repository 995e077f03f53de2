# SPDX-License-Identifier: GPL-2.0
"""The counters of a kernel with CONFIG_GCOV_KERNEL, in a guest."""

from __future__ import annotations

import io
import tarfile
import time
from pathlib import Path

from lib.trouble import Trouble
from lib.vm.guest import Guest

# Files of debugfs have no size: copied, they can go into an archive.
_COPIES = "/run/gcov"
_COPY = f"""
import os
for where, _, names in os.walk("/sys/kernel/debug/gcov"):
    for name in names:
        if name.endswith(".gcda"):
            os.makedirs("{_COPIES}" + where, exist_ok=True)
            with open(os.path.join(where, name), "rb") as file:
                content = file.read()
            with open("{_COPIES}" + os.path.join(where, name), "wb") as file:
                file.write(content)
"""


def fetch(guest: Guest) -> dict[str, bytes]:
    """Return the counters: path of the .gcda in the guest -> content.

    They count from boot on. Raises Trouble if this kernel does not count, GuestLost.
    """
    _python(guest, _COPY)
    found = {}
    with tarfile.open(fileobj=io.BytesIO(guest.get(_COPIES, ".gcda"))) as tar:
        for member in tar:
            file = tar.extractfile(member)
            if file:
                found[member.name] = file.read()
    return found


def place(counters: dict[str, bytes], objects: Path) -> None:
    """Put counters beside the .gcno files they belong to.

    In the guest they have the path of the build, here that of a copy: what they share is the
    end of it.
    """
    for note in objects.rglob("*.gcno"):
        name = str(note.relative_to(objects).with_suffix(".gcda"))
        content = next((data for path, data in counters.items() if path.endswith(f"/{name}")), None)
        if content is not None:
            note.with_suffix(".gcda").write_bytes(content)


def _python(guest: Guest, script: str) -> None:
    guest.start(["python3", "-I", "-c", script], {})
    until = time.monotonic() + 4 * guest.machine.answer_deadline
    said = b""
    while (piece := guest.next(until))[0] != "exit":
        said += piece[1]
    if piece[1] != b"0":
        lines = said.decode(errors="replace").strip().splitlines() or ["no message"]
        raise Trouble(f"the kernel's counters: {lines[-1]}")
