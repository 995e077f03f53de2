# SPDX-License-Identifier: GPL-2.0
"""Leaked kernel memory: reports are read, and put down to tests."""

from pathlib import Path

import pytest

from fixtures.kmemleak import Diary, describe
from lib import kmemleak
from lib.kmemleak import Leak, leaks, parse

REPORT = """\
unreferenced object 0xffff888003a3b000 (size 1024):
  comm "python3", pid 61, jiffies 4294938325 (age 12.345s)
  hex dump (first 32 bytes):
    00 00 00 00 00 00 00 00
  backtrace:
    [<ffffffff81234567>] io_zctap_ifq_alloc+0x2a/0x90
unreferenced object 0xffff888003a3c000 (size 8):
  comm "swapper/0", pid 1, jiffies 4294892296 (age 1000.5s)
  backtrace:
    [<ffffffff81234567>] boot+0x2a/0x90
"""


def test_objects_of_a_report():
    first, second = parse(REPORT)
    assert (first.age, second.age) == (12.345, 1000.5)
    assert first.text.startswith("unreferenced object 0xffff888003a3b000 (size 1024):")
    assert first.text.endswith("io_zctap_ifq_alloc+0x2a/0x90")
    assert parse("") == []


def diary() -> Diary:
    book = Diary()
    book.begun = [(100.0, "a"), (110.0, "b"), (120.0, "c")]
    return book


def test_memory_is_put_down_to_the_test_that_ran():
    assert diary().running(105) == ["a"]
    assert diary().running(110.5) == ["a", "b"]
    assert diary().running(1000) == ["c"]


def test_what_is_older_than_the_tests_is_not_theirs():
    found = describe([Leak(15, "ours"), Leak(31.5, "boot")], diary(), 130)
    assert found == "allocated 15.0 s ago, in or about b:\nours"
    assert describe([], diary(), 130) == ""


class File:
    """Stands for debugfs's file: a list of reports, the last of which stays."""

    def __init__(self, *reports: str) -> None:
        self.reports, self.written = list(reports), list[str]()

    def write_text(self, text: str) -> None:
        """Note it."""
        self.written.append(text)

    def read_text(self) -> str:
        """Return the next report."""
        return self.reports.pop(0) if len(self.reports) > 1 else self.reports[0]


def test_two_scans_if_there_is_nothing_and_a_third_to_confirm(monkeypatch: pytest.MonkeyPatch):
    for reports, scans, number in (([""], 2, 0), ([REPORT, ""], 3, 0), ([REPORT], 3, 2)):
        file = File(*reports)
        monkeypatch.setattr(kmemleak, "FILE", file)
        assert len(leaks(float("-inf"))) == number
        assert file.written == ["scan"] * scans


def test_what_was_found_on_the_way_is_not_told_again(monkeypatch: pytest.MonkeyPatch):
    for reports, writes, number in (
        ([""], ["scan"], 0),
        ([REPORT], ["scan", "scan", "clear"], 2),
        ([REPORT, ""], ["scan", "scan", "clear"], 0),
    ):
        file = File(*reports)
        monkeypatch.setattr(kmemleak, "FILE", file)
        assert len(kmemleak.seen_so_far()) == number
        assert file.written == writes


def test_a_kernel_without_it_is_not_watched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(kmemleak, "FILE", tmp_path / "none" / "kmemleak")
    assert not kmemleak.available()
