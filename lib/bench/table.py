# SPDX-License-Identifier: GPL-2.0
"""The rows as a table: ratios first, then what they are ratios of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lib.bench.case import WAYS, Setting
from lib.bench.summary import Row, Spread

CAVEAT = (
    "Absolute numbers mean little: they are those of this machine, in a VM and emulated perhaps."
    " Ratios are taken round by round, of transfers that follow each other."
)
BUSY = 0.9  # of the time: from there on a CPU sets the pace
_STOLEN = 0.01
NOTES = (
    "If no card is named a veth stands in for one: where the queue is bound it copies the payload"
    " into the region, which a card does by DMA. That copy is on the sender's CPU, and in all of"
    " zero-copy's goodput. Nobody looks at the bytes, in any way.",
    "Softirqs count for whoever they interrupt, and for neither process if ksoftirqd runs them or"
    " the CPU was idle: then they are in 'all CPUs' only, which is the machine. The sender's CPU"
    " takes in both ends' packets, but what arrives while the receiver has its socket locked is"
    " worked off on the receiver's time.",
    "The receiver's user time is that of a loop in Python, which a program in C would not have; its"
    " system time is the kernel's.",
    "User and system time are told apart by the timer tick, some 125 of them in half a second;"
    " their sum is exact.",
    f"Busy: the part of the time in which the receiver's CPU was. Less than {BUSY:.0%} (*): it is"
    " not what sets the pace, and goodput says little of the receiver.",
    "Medians of n measurements, in brackets the quartiles. With n=4 those hold the median of many"
    " such runs in six of ten cases, no more.",
    "Again: segments that were sent again.",
)
HEAD = (
    "way",
    "n",
    "goodput / recv",
    "receiver's CPU time / recv",
    "its system time / recv",
    "all CPUs' time / recv",
    "goodput MiB/s",
    "receiver user+sys s/GiB",
    "sender user+sys s/GiB",
    "receiver's CPU busy",
    "copied",
    "CQEs/GiB",
    "calls/GiB",
    "again/GiB",
)
# The same in two lines, for a terminal.
_UPPER = ("", "", "goodput", "receiver CPU", "its system", "all CPUs", "goodput", "receiver")
_LOWER = ("way", "n", "/ recv", "/ recv", "/ recv", "/ recv", "MiB/s", "u+s s/GiB")
_REST = (
    ("sender", "rec.", "", "CQEs", "calls", "again"),
    ("u+s s/GiB", "busy", "copied", "/GiB", "/GiB", "/GiB"),
)


def notes(rows: Iterable[Row]) -> tuple[str, ...]:
    """What has to be known of these rows."""
    stolen = max((row.metrics["stolen share"].median for row in rows), default=0.0)
    if stolen <= _STOLEN:
        return NOTES
    return (*NOTES, f"The host has taken up to {stolen:.1%} of the CPUs' time, counted as busy.")


def table(rows: Sequence[Row]) -> str:
    """The table for a terminal; medians, and quartiles in brackets."""
    lines: list[tuple[str, ...]] = [(*_UPPER, *_REST[0]), (*_LOWER, *_REST[1])]
    titles: dict[int, Setting] = {}
    last = None
    for row in rows:
        if row.setting != last:
            titles[len(lines)] = last = row.setting
        lines.append(cells(row))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = []
    for number, line in enumerate(lines):
        if number in titles:
            text += ["", str(titles[number])]
        (first, width), *others = zip(line, widths, strict=True)
        words = [first.ljust(width), *(word.rjust(size) for word, size in others)]
        text.append("  ".join(words).rstrip())
    ways = [f"{name}: {what}" for name, what in WAYS.items()]
    return "\n".join([*text, "", *ways, "", CAVEAT, *notes(rows)])


def cells(row: Row) -> tuple[str, ...]:
    """What the table says of a row."""
    of = {name: spread.median for name, spread in row.metrics.items()}
    busy = of["receiver's CPU busy"]
    return (
        row.way,
        str(row.count),
        _ratio(row.ratios.get("goodput")),
        _ratio(row.ratios.get("receiver")),
        _ratio(row.ratios.get("receiver system")),
        _ratio(row.ratios.get("machine")),
        f"{of['goodput']:.0f}",
        f"{of['receiver user']:.2f}+{of['receiver system']:.2f}",
        f"{of['sender user']:.2f}+{of['sender system']:.2f}",
        f"{busy:.0%}{' ' if busy >= BUSY else '*'}",
        f"{of['copied share']:.2%}" if row.way in ("copied", "zero-copy") else "-",
        f"{of['cqes']:.0f}" if row.way != "recv" else "-",
        f"{of['calls']:.0f}",
        f"{of['again']:.0f}",
    )


def _ratio(found: Spread | None) -> str:
    if found is None:
        return "-"
    return f"{found.median:.2f} [{found.low:.2f} {found.high:.2f}]"
