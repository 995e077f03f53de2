# SPDX-License-Identifier: GPL-2.0
"""Each way for a guest to end has a word, whatever its console looks like."""

import pytest

from lib.report.model import LOST
from lib.vm import death

QUIET = b"[    1.0] Run /usr/bin/python3 as init process\r\n"
OOPS = (
    b"[   12.1] BUG: kernel NULL pointer dereference, address: 0000000000000008\r\n"
    b"[   12.1] #PF: supervisor read access in kernel mode\r\n"
    b"[   12.1] Oops: 0000 [#1] PREEMPT SMP\r\n"
    b"[   12.2] RIP: 0010:io_zctap_refill+0x11/0x40\r\n"
    b"[   12.3] Kernel panic - not syncing: Fatal exception in interrupt\r\n"
)


def found(console: bytes, qemu: str = "", *, silent: bool = True) -> death.Death:
    result = death.of_guest(death.told(QUIET + console), qemu, silent=silent, error="closed")
    assert result.kind in LOST
    return result


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"Kernel panic - not syncing: sysrq triggered crash", "panic"),
        (b"Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block", "panic"),
        (OOPS, "oops"),
        (b"kernel BUG at io_uring/zctap.c:7!\nKernel panic - not syncing: Fatal exception", "oops"),
        (b"Kernel panic - not syncing: softlockup: hung tasks", "lockup"),
        (b"Kernel panic - not syncing: hung_task: blocked tasks", "lockup"),
        (b"Kernel panic - not syncing: RCU Stall", "lockup"),
        (b"Kernel panic - not syncing: System is deadlocked on memory", "oom"),
        (b"Kernel panic - not syncing: Out of memory: compulsory panic_on_oom is enabled", "oom"),
    ],
)
def test_panics_have_a_cause(text: bytes, kind: str):
    # pvpanic ends QEMU; the console says why.
    assert found(text, "the guest panicked", silent=False).kind == kind


def test_oops_is_told_by_its_first_line():
    assert "NULL pointer dereference" in found(OOPS).why


@pytest.mark.parametrize(
    ("console", "qemu", "silent", "kind"),
    [
        (b"", "QEMU was killed by SIGKILL", False, "qemu"),
        (b"", "the guest panicked", False, "panic"),
        (b"", "the guest shut down (guest-reset)", False, "qemu"),
        (b"", "", False, "crashed"),
        (b"", "", True, "silent"),
        (b"[  9.0] watchdog: BUG: soft lockup - CPU#1 stuck for 26s!", "", True, "lockup"),
        (b"[  9.0] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", "", True, "lockup"),
        (
            b"[  9.0] INFO: task kworker/0:1:10 blocked for more than 60 seconds.",
            "",
            True,
            "lockup",
        ),
    ],
)
def test_no_panic(console: bytes, qemu: str, silent: bool, kind: str):
    assert found(console, qemu, silent=silent).kind == kind


def test_killed_for_memory():
    lines = death.told(QUIET + b"[  3.0] Out of memory: Killed process 60 (python3) total-vm:1kB\n")
    killed = death.of_process(lines, "SIGKILL")
    assert killed
    assert killed.kind == "oom"
    assert death.of_process(lines, "SIGSEGV") is None
    assert death.of_process(death.told(QUIET), "SIGKILL") is None


@pytest.mark.parametrize(
    "console",
    [
        b"",
        b"\xff\xfe\x00\x80" * 1000,
        b"\x1b[2J\x1b[31m[  9.0] Kernel panic - not syncing: sysrq\x1b[0m triggered crash",
        b"\x1b]0;title\x07\r\rprogress\r[  9.0] Kernel pa",
        b"x" * 1_000_000,
        b"\x1b" * 10_000,
    ],
)
def test_any_bytes_will_do(console: bytes):
    lines = death.told(console)
    assert all("\x1b" not in line and len(line) <= 400 for line in lines)
    assert len(death.excerpt(lines)) <= 60
    death.of_guest(lines, "", silent=True)


def test_escapes_do_not_hide_a_panic():
    console = b"\x1b[2J\x1b[31m[  9.0] Kernel panic - not syncing: sysrq\x1b[0m triggered crash"
    assert found(console).why == "the guest panicked: sysrq triggered crash"


def test_excerpt_begins_with_the_trouble():
    lines = [f"line {number}" for number in range(100)]
    assert death.excerpt(lines) == lines[-25:]
    lines[20] = "[ 1.0] BUG: KASAN: use-after-free in io_zctap_free"
    assert death.excerpt(lines)[0] == lines[20]
    assert len(death.excerpt(lines)) == 60
