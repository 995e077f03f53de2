# SPDX-License-Identifier: GPL-2.0
"""Where a guest's processors are is read from QEMU's monitor."""

from pathlib import Path

import pytest

from lib.vm import death
from lib.vm.processors import Processor, parsed, stuck, told

# Shortened; as QEMU 7.2 prints it, and 8 and later with the same lines.
REGISTERS = """\r
CPU#0\r
RAX=0000000000000001 RBX=ffffffff82a1a840 RCX=0000000000000000 RDX=0000000000000000\r
RIP=ffffffff81000010 RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1\r
ES =0000 0000000000000000 ffffffff 00c00000\r
\r
CPU#1\r
RAX=0000000000000001 RBX=ffffffff82a1a840 RCX=0000000000000000 RDX=0000000000000000\r
RIP=ffffffff81000022 RFL=00000046 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=0\r
"""
IDLE = Processor(0, 0xFFFFFFFF81000010, interrupts=True, kernel=True, halted=True)
SPINS = Processor(1, 0xFFFFFFFF81000022, interrupts=False, kernel=True, halted=False)
WORKS = Processor(1, 0xFFFFFFFF81000022, interrupts=True, kernel=True, halted=False)
PROGRAM = Processor(1, 0x401000, interrupts=False, kernel=False, halted=False)


def test_registers_are_read():
    assert parsed(REGISTERS) == [IDLE, SPINS]
    assert parsed("unknown command") == []


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([], []),
        ([[]], []),
        ([[IDLE, SPINS], [IDLE, SPINS]], [SPINS]),
        # Whoever takes an interrupt once is not locked up.
        ([[IDLE, SPINS], [IDLE, WORKS], [IDLE, SPINS]], []),
        ([[IDLE, PROGRAM]], []),
    ],
)
def test_stuck_is_who_never_takes_an_interrupt(
    samples: list[list[Processor]], expected: list[Processor]
):
    assert stuck(samples) == expected


def test_places_have_names(tmp_path: Path):
    symbols = tmp_path / "System.map"
    symbols.write_bytes(
        b"\xff\n\n"  # somebody else's file
        b"0000000000000000 A per_cpu_start\n"
        b"ffffffff81000000 T cpu_idle\n"
        b"ffffffff81000020 t lkdtm_HARDLOCKUP\n"
        b"ffffffff81000030 T after\n"
    )
    assert told([IDLE, SPINS, PROGRAM], symbols) == [
        "CPU 0: halted, RIP: cpu_idle+0x10/0x20",
        "CPU 1: in the kernel, interrupts off, RIP: lkdtm_HARDLOCKUP+0x2/0x10",
        "CPU 1: in a program, interrupts off, RIP: 0x401000",
    ]
    assert told([IDLE], tmp_path / "none") == ["CPU 0: halted, RIP: 0xffffffff81000010"]


def test_lockup_is_a_word_for_it():
    found = death.of_guest([], "", silent=True, locked=[SPINS])
    assert (found.kind, found.why) == (
        "lockup",
        "the guest is locked up: interrupts stay off on CPU 1",
    )
