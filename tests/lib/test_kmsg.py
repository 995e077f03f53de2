# SPDX-License-Identifier: GPL-2.0
"""What in the kernel log is a finding."""

from pathlib import Path

import pytest

from lib.kmsg import KernelLog, Record, excerpts, is_alarm, parse

ALARMS = [
    "WARNING: CPU: 1 PID: 77 at net/core/skbuff.c:5000 skb_try_coalesce+0x1/0x2",
    "WARNING: possible circular locking dependency detected",
    "WARNING: possible recursive locking detected",
    "WARNING: inconsistent lock state",
    "WARNING: suspicious RCU usage",
    "WARNING: bad unlock balance detected!",
    "WARNING: lock held when returning to user space!",
    "BUG: KASAN: use-after-free in io_zctap_put+0x1/0x2",
    "BUG: kernel NULL pointer dereference, address: 0000000000000008",
    "BUG: sleeping function called from invalid context at mm/page_alloc.c:5500",
    "BUG: scheduling while atomic: pytest/77/0x00000002",
    "BUG: Bad page state in process pytest  pfn:12345",
    "BUG: unable to handle page fault for address: ffff888000000000",
    "kernel BUG at mm/slub.c:400!",
    "BUG kmalloc-cg-1k (Not tainted): Right Redzone overwritten",
    "BUG kmalloc-64 (Tainted: G        W         ): Poison overwritten",
    "Oops: 0000 [#1] PREEMPT SMP",
    "general protection fault, probably for non-canonical address",
    "UBSAN: array-index-out-of-bounds in io_uring/zctap.c:1:2",
    "unregister_netdevice: waiting for zt0001000a to become free. Usage count = 2",
    "DMA-API: veth: device driver frees DMA memory with different size",
    "refcount_t: underflow; use-after-free.",
    "ODEBUG: free active (active state 0) object type: timer_list",
    "list_del corruption. prev->next should be",
    "INFO: task pytest:77 blocked for more than 60 seconds.",
    "rcu: INFO: rcu_sched detected stalls on CPUs/tasks:",
    "rcu: INFO: rcu_preempt self-detected stall on CPU",
    "INFO: trying to register non-static key.",
    "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [pytest:77]",
    "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
]
ORDINARY = [
    "Linux version 6.1.0 (root@host) (gcc (Debian 12.2.0-14) 12.2.0)",
    "random: crng init done",
    "Warning: unable to open an initial console.",
    "kasan: KernelAddressSanitizer initialized",
    "rcu: Hierarchical RCU implementation.",
    "rcu: 	RCU debug extended QS entry/exit.",
    "Running RCU self tests",
    "IPv6: ADDRCONF(NETDEV_CHANGE): zt1a: link becomes ready",
    "kmemleak: Kernel memory leak detector initialized (mem pool available: 15000)",
    "DMA-API: preallocated 65536 debug entries",
    "debug: page owner tracking enabled",
    "clocksource: tsc: mask: 0xffffffffffffffff max_cycles: 0x1",
    "watchdog: Delayed init of the lockup detector failed: -19",
    "Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar",
    "TCP: request_sock_TCP: Possible SYN flooding on port 1. Sending cookies.",
]


@pytest.mark.parametrize("text", ALARMS)
def test_complaints_are_recognised(text: str) -> None:
    assert is_alarm(text)


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_messages_are_not(text: str) -> None:
    assert not is_alarm(text)


def test_record_is_taken_apart() -> None:
    record = parse(b"4,339,5140900,-,caller=T12;eth0: link up\n SUBSYSTEM=net\n")
    assert record == Record(4, 339, 5.1409, "eth0: link up")


def test_facility_is_not_the_level() -> None:
    assert parse(b"12,1,0,-;from user space\n").level == 4


@pytest.mark.parametrize("raw", [b"", b"nonsense", b"4,339;short"])
def test_what_is_no_record(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not a kernel log record"):
        parse(raw)


def test_one_excerpt_for_each_complaint() -> None:
    lines = ["fine", "BUG: one", *["stack"] * 5, "WARNING: CPU: 0 inside the first"]
    lines += [*["quiet"] * 100, "refcount_t: underflow"]
    found = excerpts([Record(4, at, at / 10, text) for at, text in enumerate(lines)])
    assert [text.splitlines()[0].split("] ")[1] for text in found] == [
        "BUG: one",
        "refcount_t: underflow",
    ]
    assert "inside the first" in found[0]


def test_log_is_read_from_the_mark(tmp_path: Path) -> None:
    # A regular file reads differently from /dev/kmsg in all but this: it starts at its end.
    path = tmp_path / "kmsg"
    path.write_bytes(b"4,1,0,-;old\n")
    log = KernelLog(str(path))
    with path.open("ab") as file:
        file.write(b"4,2,0,-;new\n")
    with pytest.raises(ValueError, match="b''"):
        log.read()  # a regular file ends where /dev/kmsg would block
    log.close()
