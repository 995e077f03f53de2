# SPDX-License-Identifier: GPL-2.0
"""What the processors of a guest are at, as QEMU's monitor shows them.

A kernel that spins with interrupts off says nothing: without a performance counter in the
emulated machine it has no detector for that, and RCU notices after 21 s if at all.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# The interrupt flag of RFLAGS: Intel SDM volume 1, 3.4.3.
_IF = 1 << 9
# "info registers -a" has a paragraph for each processor: x86_cpu_dump_state() in QEMU.
_PROCESSOR = re.compile(
    r"^CPU#(\d+)$.*?^[RE]IP=([0-9a-f]+) [RE]FL=([0-9a-f]+) .*?\bCPL=(\d) .*?\bHLT=(\d)",
    re.MULTILINE | re.DOTALL,
)
# A line of System.map: nm's letters for code, so none of the per-CPU area, which has offsets.
_FUNCTION = re.compile(r"^([0-9a-f]+) [tTwW] (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Processor:
    """One processor at one moment."""

    number: int
    address: int  # of the instruction
    interrupts: bool
    kernel: bool
    halted: bool


def parsed(registers: str) -> list[Processor]:
    """Return what `info registers -a` shows."""
    return [
        Processor(
            int(number), int(address, 16), bool(int(flags, 16) & _IF), level == "0", halted != "0"
        )
        for number, address, flags, level, halted in _PROCESSOR.findall(registers.replace("\r", ""))
    ]


def stuck(samples: Sequence[Sequence[Processor]]) -> list[Processor]:
    """Return the processors that ran in the kernel with interrupts off in each of the samples."""
    never = {
        one.number
        for sample in samples
        for one in sample
        if one.interrupts or one.halted or not one.kernel
    }
    return [one for one in samples[-1] if one.number not in never] if samples else []


def told(sample: Sequence[Processor], symbols: Path) -> list[str]:
    """Say for people, and for decode_stacktrace.sh, where each processor is.

    `symbols` is a System.map; where there is none, addresses must do.
    """
    names = _Symbols(symbols)
    return [f"CPU {one.number}: {_doing(one)} RIP: {names.place(one.address)}" for one in sample]


def _doing(one: Processor) -> str:
    if one.halted:
        return "halted,"
    where = "in the kernel" if one.kernel else "in a program"
    return f"{where}, interrupts {'on' if one.interrupts else 'off'},"


class _Symbols:
    """A System.map."""

    def __init__(self, path: Path) -> None:
        try:
            text = path.read_text(errors="replace")
        except OSError:
            text = ""
        self._names = sorted((int(at, 16), name) for at, name in _FUNCTION.findall(text))

    def place(self, address: int) -> str:
        """Return name+offset/size, or the address."""
        at = bisect_right(self._names, (address, "\uffff")) - 1
        if not 0 <= at < len(self._names) - 1:
            return f"{address:#x}"
        (start, name), (end, _) = self._names[at], self._names[at + 1]
        return f"{name}+{address - start:#x}/{end - start:#x}"
