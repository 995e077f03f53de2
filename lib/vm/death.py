# SPDX-License-Identifier: GPL-2.0
"""What became of a guest, told from its console and from QEMU: pure logic on text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lib.vm.processors import Processor

# The lines of a console that are shown: from the first sign of trouble, else the last few.
_TAIL = 25
_REPORT = 60
_TROUBLE = re.compile(
    r"BUG: |Kernel panic - |Oops: |general protection fault|KASAN: |UBSAN: |INFO: task "
    r"|rcu: INFO: |WARNING: |Out of memory|out of memory: |sysrq: Show Blocked"
)
_PANIC = re.compile(r"Kernel panic - not syncing: (.*)")
# What the kernel says when it panics for something that has a name of its own. panic() gets
# these texts in kernel/watchdog.c, kernel/hung_task.c, kernel/rcu/tree_stall.h, mm/oom_kill.c.
_PANICS = (
    ("lockup", re.compile(r"softlockup|Hard LOCKUP|hung_task|RCU Stall", re.IGNORECASE)),
    ("oom", re.compile(r"Out of memory|deadlocked on memory")),
    ("oops", re.compile(r"Fatal exception|fatal exception")),
)
_STUCK = re.compile(r"soft lockup|hard LOCKUP|rcu: INFO: rcu_\w+ (?:self-)?detected|INFO: task ")
_OOM_KILL = re.compile(r"Out of memory: Killed process|Memory cgroup out of memory|oom-kill:")
_OOPS = re.compile(r"(BUG: .*|Oops: .*|kernel BUG at .*|general protection fault.*)")
# A log may have had escape sequences and lines of any length written into it.
_ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|.)?")
_LONGEST = 400


@dataclass(frozen=True)
class Death:
    """`kind` is one of lib/report/model.py's LOST, `why` says it in words."""

    kind: str
    why: str


def told(console: bytes) -> list[str]:
    """Return the lines of a console log, whatever bytes are in it."""
    text = _ESCAPE.sub("", console.decode(errors="replace"))
    # A serial console ends its lines with \r\n; a \r alone is somebody's progress bar.
    lines = (line.rstrip() for line in re.split(r"[\r\n]+", text))
    return [line[:_LONGEST] for line in lines if line]


def excerpt(lines: list[str]) -> list[str]:
    """Return what matters of a console log."""
    for number, line in enumerate(lines):
        if _TROUBLE.search(line):
            return lines[number : number + _REPORT]
    return lines[-_TAIL:]


def of_guest(
    lines: list[str],
    qemu: str,
    *,
    silent: bool,
    error: str = "",
    locked: Sequence[Processor] = (),
) -> Death:
    """Say what became of a guest.

    `qemu` says how QEMU ended, "" if it has not; `silent` is whether a deadline passed, else
    the channel broke with `error`. `locked` are processors that take no interrupts.
    """
    text = "\n".join(lines)
    panic = _PANIC.search(text)
    if panic and "Unable to mount root fs" in panic[1]:
        hint = "(a modular kernel needs --modules)"
        return Death("panic", f"the guest panicked: {panic[1]} {hint}")
    if panic:
        for kind, pattern in _PANICS:
            if pattern.search(panic[1]):
                cause = _OOPS.search(text) if kind == "oops" else None
                return Death(kind, f"the guest died: {cause[1] if cause else panic[1]}")
        return Death("panic", f"the guest panicked: {panic[1]}")
    if qemu:
        return Death("panic" if "panicked" in qemu else "qemu", qemu)
    if not silent:
        return Death("crashed", f"the guest's agent failed: {error.strip()[-200:] or 'no word'}")
    if locked:
        numbers = ", ".join(str(one.number) for one in locked)
        return Death("lockup", f"the guest is locked up: interrupts stay off on CPU {numbers}")
    if stuck := _STUCK.search(text):
        return Death("lockup", f"the guest is locked up: {stuck[0]}")
    return Death("silent", "the guest is silent, and so is its console")


def of_process(lines: list[str], signal: str) -> Death | None:
    """Say why pytest was killed by a signal, if the guest's console knows; else None."""
    if signal == "SIGKILL" and _OOM_KILL.search("\n".join(lines)):
        return Death("oom", "the guest ran out of memory, and pytest was killed for it")
    return None
