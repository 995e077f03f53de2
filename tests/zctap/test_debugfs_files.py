# SPDX-License-Identifier: GPL-2.0
"""The readers of debugfs, on files made here."""

from pathlib import Path

import pytest

from lib.zctap.debugfs import Accounting, Counters, Debugfs, PageRefs, State, parse_table

STATE = """ifindex: 3
ifname: zt1b
queue_id: 1
fill_bgid: 10
region_id: 0
pages: 64
state: draining
ifq_refs: 1
release_polls: 7
later: addition
"""
COUNTERS = "\n".join(
    f"{name}: {number}" for number, name in enumerate(Counters.__dataclass_fields__)
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in (2, 10):
        path = tmp_path / str(number)
        path.mkdir()
        (path / "state").write_text(STATE)
        (path / "accounting").write_text("free: 60\ndriver: 2\nskb: 1\nuser: 1\npages: 64\n")
        (path / "refs").write_text("5 1 0 0\n63 0 2 1\n")
        (path / "counters").write_text(COUNTERS)
    (tmp_path / "version").write_text("1\n")
    return tmp_path


def test_everything_is_read(root: Path) -> None:
    entry = Debugfs(root).newest()
    assert entry is not None
    assert entry.state() == State(3, "zt1b", 1, 10, 0, 64, "draining", 1, 7)
    assert entry.accounting() == Accounting(60, 2, 1, 1, 64)
    assert entry.refs() == [PageRefs(5, 1, 0, 0), PageRefs(63, 0, 2, 1)]
    assert entry.counters() == Counters(*range(11))


def test_numbers_are_sorted_as_numbers(root: Path) -> None:
    assert [entry.number for entry in Debugfs(root).entries()] == [2, 10]


def test_no_debugfs(tmp_path: Path) -> None:
    missing = Debugfs(tmp_path / "none")
    assert (missing.available(), missing.entries(), missing.newest()) == (False, [], None)


@pytest.mark.parametrize(
    ("snapshot", "conserved"),
    [((60, 2, 1, 1, 64), True), ((60, 2, 1, 2, 64), False), ((60, 2, 1, 0, 64), False)],
)
def test_conservation(snapshot: tuple[int, ...], conserved: bool) -> None:
    assert Accounting(*snapshot).conserved is conserved


def test_blanks_will_do_for_colons() -> None:
    assert parse_table(Accounting, "free 1\ndriver\t2\nskb 3\nuser 4\npages 10") == Accounting(
        1, 2, 3, 4, 10
    )


@pytest.mark.parametrize("text", ["", "free: 1\ndriver: 2\nskb: 3\nuser: 4", "free: many"])
def test_missing_and_bad_values(text: str) -> None:
    with pytest.raises(ValueError):
        parse_table(Accounting, text)


def test_counters_are_subtracted() -> None:
    assert Counters(*range(1, 12)) - Counters(*range(11)) == Counters(*[1] * 11)


def test_dump_shows_what_is_there(root: Path) -> None:
    (root / "2" / "refs").unlink()
    dump = Debugfs(root).dump()
    assert "2/refs:\n(No such file or directory)" in dump
    assert "10/refs:\n5 1 0 0" in dump
