# SPDX-License-Identifier: GPL-2.0
"""The kernel log from a mark, and what in it counts as a finding.

Format: Documentation/ABI/testing/dev-kmsg. Each open file has a position of its own, so a mark is
an open file at the end of the log: no reliance on taint, whose bits stay set after the first
report and so hide the second.
"""

import os
import re
from dataclasses import dataclass

# What the kernel prints when something is wrong, one alternative for each reporter. Ordinary
# messages must not match: the list is tried on a whole boot's log in the unit tests.
_ALARM = re.compile(
    r"""
      \bWARNING:\ (?:CPU:|possible|inconsistent|suspicious|bad\ unlock|lock\ held|held\ lock
                    |Nested\ lock|chain\ cache|stack)   # WARN_ON(), lockdep, RCU checks
    | \bBUG:\ | \bkernel\ BUG\ at\b | \bOops\b
    | \bBUG\ \S+\ \((?:Not\ tainted|Tainted:)   # SLUB: poison, red zones
    | \bKASAN: | \bKFENCE: | \bKCSAN: | \bUBSAN: | \bKMSAN:
    | general\ protection\ fault | \bunable\ to\ handle\b | \bstack-protector:
    | \bINFO:\ (?:task\ .+\ blocked\ for|rcu\S*\ .*(?:stall|detected)
                 |possible\ recursive|trying\ to\ register\ non-static)
    | \bINFO:\ .*\bself-detected\ stall
    | unregister_netdevice:\ waiting\ for | waiting\ for\ \S+\ to\ become\ free
    | \bDMA-API:\ (?!preallocated|debugging|disable|enable) | \brefcount_t: | \bODEBUG:
    | \b(?:list_add|list_del)\ corruption | \bBad\ (?:page|rss-counter)
    | sleeping\ function\ called\ from\ invalid\ context | scheduling\ while\ atomic
    | soft\ lockup | hard\ LOCKUP | page\ allocation\ failure:
    | kmemleak:\ \d+\ new\ suspected | page_pool_release_retry\(\)
    """,
    re.VERBOSE,
)
_EXCERPT = 60  # records of context behind the first line: a splat with its stack


@dataclass(frozen=True, slots=True)
class Record:
    """One record of the log; `time` in seconds since boot."""

    level: int
    seq: int
    time: float
    text: str

    def __str__(self) -> str:
        return f"[{self.time:12.6f}] {self.text}"


def parse(raw: bytes) -> Record:
    """The record of one read of /dev/kmsg; ValueError if it is none."""
    head, sep, text = raw.partition(b";")
    fields = head.split(b",")
    if not sep or len(fields) < 3:
        raise ValueError(f"not a kernel log record: {raw[:80]!r}")
    lines = text.decode(errors="replace").split("\n")
    # Continuation lines (" KEY=value") name the device; the message is the first line.
    return Record(int(fields[0]) & 7, int(fields[1]), int(fields[2]) / 1e6, lines[0])


def is_alarm(text: str) -> bool:
    """Whether a line of the log is one of the kernel's complaints."""
    return _ALARM.search(text) is not None


def excerpts(records: list[Record]) -> list[str]:
    """Each complaint with the records that follow it, as text; empty if there is none.

    A complaint inside the excerpt of an earlier one belongs to that one.
    """
    found, at = [], 0
    while at < len(records):
        if is_alarm(records[at].text):
            found.append("\n".join(str(record) for record in records[at : at + _EXCERPT]))
            at += _EXCERPT
        else:
            at += 1
    return found


class KernelLog:
    """The log from the moment of opening on. Raises OSError (EPERM) without CAP_SYSLOG."""

    def __init__(self, path: str = "/dev/kmsg") -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self.lost = 0  # times the kernel overwrote records before they were read
        self.mark()

    def mark(self) -> None:
        """Forget what has been logged so far."""
        os.lseek(self._fd, 0, os.SEEK_END)

    def read(self) -> list[Record]:
        """The records since the mark or the last read."""
        records = []
        while True:
            try:
                records.append(parse(os.read(self._fd, 8192)))
            except BlockingIOError:
                return records
            except BrokenPipeError:
                self.lost += 1  # overwritten; the position has moved on to the oldest record left

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)
