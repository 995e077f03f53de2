# SPDX-License-Identifier: GPL-2.0
"""Stack traces with the lines of source that their addresses stand for."""

from __future__ import annotations

import re
from pathlib import Path

from lib.trouble import Trouble
from lib.vm.command import run
from lib.vm.kbuild import Symbols

# The script would disassemble these, and of a system call they are the program's.
_CODE = re.compile(r"\bCode: [0-9a-f<]")
_ADDRESS = re.compile(r"\w\+0x[0-9a-f]+/0x[0-9a-f]+")
# addr2line reads all of vmlinux for each address that is new to it.
_DEADLINE = 120.0


def decoded(lines: list[str], symbols: Symbols | None) -> list[str]:
    """Return a log through the tree's own decode_stacktrace.sh; as it is if that cannot be."""
    script = symbols.tree / "scripts" / "decode_stacktrace.sh" if symbols else None
    if not symbols or not script or not any(map(_ADDRESS.search, lines)):
        return lines
    told = [line for line in lines if not _CODE.search(line)]
    command: list[str | Path] = ["bash", script, symbols.vmlinux, symbols.tree]
    try:
        said = run(command, stdin="\n".join(told).encode() + b"\n", deadline=_DEADLINE)
    except Trouble:
        return lines
    return said.decode(errors="replace").splitlines() or lines
