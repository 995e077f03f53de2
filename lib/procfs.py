# SPDX-License-Identifier: GPL-2.0
"""Small readers of /proc."""

import re
from pathlib import Path


def status_kib(key: str) -> int:
    """A line of /proc/self/status in KiB, such as VmPin (proc(5)); 0 if there is none."""
    match = re.search(rf"^{key}:\s+(\d+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(match[1]) if match else 0


def anonymous_kib() -> int:
    """This process's anonymous memory in KiB, by its page tables (/proc/pid/smaps_rollup, proc(5)).

    RssAnon of status is off by up to 64 pages a thread, which the kernel counts apart
    (mm/memory.c, TASK_RSS_EVENTS_THRESH).
    """
    match = re.search(r"^Anonymous:\s+(\d+)", Path("/proc/self/smaps_rollup").read_text(), re.M)
    return int(match[1]) if match else 0


def pinned_pages() -> int | None:
    """Pages that long-term users hold pinned in the whole system; None without the counters.

    The difference of nr_foll_pin_acquired and nr_foll_pin_released (Documentation/core-api/
    pin_user_pages.rst). They are kept on each CPU and added up about once a second, so they are
    asked to add up first (Documentation/admin-guide/sysctl/vm.rst, stat_refresh; root only).
    """
    try:
        Path("/proc/sys/vm/stat_refresh").read_bytes()
    except OSError:
        return None
    text = Path("/proc/vmstat").read_text()
    counts = dict(re.findall(r"^nr_foll_pin_(\w+) (\d+)$", text, re.MULTILINE))
    if len(counts) != 2:
        return None
    return int(counts["acquired"]) - int(counts["released"])
