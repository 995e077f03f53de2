# SPDX-License-Identifier: GPL-2.0
"""The rows as a table: ratios first, then what they are ratios of."""

from __future__ import annotations

from collections.abc import Iterable

from lib.bench.case import WAYS, Setting
from lib.bench.summary import Row, Spread

CAVEAT = (
    "Absolute numbers mean little: they are those of this machine, in a VM and emulated perhaps."
    " Ratios are taken round by round, of transfers that follow each other."
)
NOTES = (
    "A veth stands in for the card: where the queue is bound it copies the payload into the"
    " region, which a card does by DMA. That copy is on the sender's CPU, and in all of"
    " zero-copy's goodput. Nobody looks at the bytes, in any way.",
    "Softirqs count for whoever they interrupt, and for nobody if a CPU was idle: sender and"
    " receiver are processes, 'all CPUs' is the machine. The sender's CPU takes in both ends'"
    " packets.",
)
HEAD = (
    "way",
    "goodput/recv",
    "CPU/recv",
    "goodput MiB/s",
    "receiver user+sys s/GiB",
    "sender user+sys s/GiB",
    "all CPUs s/GiB",
    "copied",
    "CQEs/GiB",
    "calls/GiB",
)
# The same in two lines, for a terminal.
_UPPER = ("", "goodput", "receiver's CPU", "goodput", "receiver's CPU", "sender's CPU", "all CPUs")
_LOWER = ("way", "/ recv", "/ recv", "MiB/s", "user+sys s/GiB", "user+sys s/GiB", "s/GiB")
_REST = (("", "CQEs", "calls"), ("copied", "/GiB", "/GiB"))


def table(rows: Iterable[Row]) -> str:
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
    return "\n".join([*text, "", *ways, "", CAVEAT, *NOTES])


def cells(row: Row) -> tuple[str, ...]:
    """What the table says of a row."""
    of = row.metrics
    goodput = of["goodput"]
    mib = [1024 * value for value in (goodput.median, goodput.low, goodput.high)]
    return (
        row.way,
        _ratio(row.ratios.get("goodput")),
        _ratio(row.ratios.get("receiver")),
        "{:.0f} [{:.0f} {:.0f}]".format(*mib),
        f"{of['receiver user'].median:.2f}+{of['receiver system'].median:.2f}",
        f"{of['sender user'].median:.2f}+{of['sender system'].median:.2f}",
        f"{of['machine'].median:.2f}",
        f"{100 * of['copied share'].median:.2f}%" if row.way in ("copied", "zero-copy") else "-",
        f"{of['cqes'].median:.0f}" if row.way != "recv" else "-",
        f"{of['calls'].median:.0f}",
    )


def _ratio(found: Spread | None) -> str:
    if found is None:
        return "-"
    return f"{found.median:.2f} [{found.low:.2f} {found.high:.2f}]"
