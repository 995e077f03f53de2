# SPDX-License-Identifier: GPL-2.0
"""Readers of /sys/kernel/debug/zctap (docs/contract.md, "Debugfs").

Each ifq has a directory, numbered upwards since boot, which goes away with its region.
"""

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from lib.zctap.probe import DEBUGFS


@dataclass(frozen=True)
class State:
    """`state`: what the ifq is bound to, and how far its release has come."""

    ifindex: int
    ifname: str
    queue_id: int
    fill_bgid: int
    region_id: int
    pages: int
    state: str  # active, draining or dead
    ifq_refs: int
    release_polls: int


@dataclass(frozen=True)
class Accounting:
    """`accounting`: every page of the region once, by driver, skb, user, free, in that order."""

    free: int
    driver: int
    skb: int
    user: int
    pages: int

    @property
    def conserved(self) -> bool:
        """BUF-4: no page is missing and none counted twice."""
        return self.free + self.driver + self.skb + self.user == self.pages


class PageRefs(NamedTuple):
    """A line of `refs`: the references of one page."""

    page: int
    driver: int
    skb: int
    user: int


@dataclass(frozen=True)
class Counters:
    """`counters`: events since the registration."""

    from_freelist: int
    from_fill: int
    alloc_fail: int
    fill_invalid: int
    fill_not_owned: int
    recycled: int
    zc_iovs: int
    zc_bytes: int
    copy_iovs: int
    copy_bytes: int
    recv_enobufs: int

    def __sub__(self, earlier: "Counters") -> "Counters":
        names = [field.name for field in fields(self)]
        return Counters(*(getattr(self, name) - getattr(earlier, name) for name in names))


_T = TypeVar("_T", State, Accounting, Counters)


def parse_table(kind: type[_T], text: str) -> _T:
    """A dataclass of the `key: value` (or `key value`) lines of a file.

    Keys we do not know are passed over. Raises ValueError for a missing key or a bad number.
    """
    pairs = dict(
        re.split(r":\s*|\s+", line.strip(), maxsplit=1)
        for line in text.splitlines()
        if line.strip()
    )
    values: dict[str, Any] = {}
    for field in fields(kind):
        if field.name not in pairs:
            raise ValueError(f"no {field.name!r} in debugfs {kind.__name__.lower()}: {text!r}")
        value = pairs[field.name]
        values[field.name] = int(value) if field.type is int else value
    return kind(**values)


def parse_refs(text: str) -> list[PageRefs]:
    """The lines of `refs`."""
    return [PageRefs(*map(int, line.split())) for line in text.splitlines() if line.strip()]


class Entry:
    """The directory of one ifq. Reads raise FileNotFoundError or ENODEV once it is gone."""

    def __init__(self, path: Path) -> None:
        self.path, self.number = path, int(path.name)

    def newer(self, other: "Entry | None") -> bool:
        """Whether its ifq was registered after another one, or after none was there."""
        return other is None or self.number > other.number

    def exists(self) -> bool:
        """Whether the region is still there."""
        return self.path.exists()

    def state(self) -> State:
        """Read `state`."""
        return parse_table(State, (self.path / "state").read_text())

    def accounting(self) -> Accounting:
        """Read `accounting`: one consistent snapshot."""
        return parse_table(Accounting, (self.path / "accounting").read_text())

    def refs(self) -> list[PageRefs]:
        """Read `refs`: the pages that have a reference."""
        return parse_refs((self.path / "refs").read_text())

    def counters(self) -> Counters:
        """Read `counters`."""
        return parse_table(Counters, (self.path / "counters").read_text())

    def dump(self) -> str:
        """All files as text, for a failure report; what cannot be read says so."""
        parts = []
        for name in ("state", "accounting", "counters", "refs"):
            try:
                text = (self.path / name).read_text().rstrip()
            except OSError as error:
                text = f"({error.strerror})"
            parts.append(f"{self.path.name}/{name}:\n{text}")
        return "\n".join(parts)


class Debugfs:
    """zctap's directory in debugfs."""

    def __init__(self, root: Path = DEBUGFS) -> None:
        self.root = root

    def available(self) -> bool:
        """Whether this kernel shows it to us."""
        return (self.root / "version").exists()

    def version(self) -> int:
        """The number of the format (DBG-1)."""
        return int((self.root / "version").read_text())

    def entries(self) -> list[Entry]:
        """The ifqs there are, active or draining, oldest first; [] without debugfs."""
        try:
            names = [path for path in self.root.iterdir() if path.name.isdigit()]
        except OSError:
            return []
        return [Entry(path) for path in sorted(names, key=lambda path: int(path.name))]

    def newest(self) -> Entry | None:
        """The ifq registered last, if it is still there."""
        entries = self.entries()
        return entries[-1] if entries else None

    def dump(self) -> str:
        """Every ifq's files as text."""
        return "\n".join(entry.dump() for entry in self.entries())
