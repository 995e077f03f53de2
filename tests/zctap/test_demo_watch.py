# SPDX-License-Identifier: GPL-2.0
"""What the demo takes for a failure."""

from typing import Any

import pytest

from selftests.zctap import demo_watch
from selftests.zctap.demo_watch import Watch


class SomeLink:
    """As much of a link as a verdict is about."""

    def __init__(self, copies: str) -> None:
        self.copies = copies


@pytest.mark.parametrize(
    ("copied", "copies", "grown", "theirs", "good", "said"),
    [
        (0, "", 0, "", True, "100.00% of the bytes came without a copy\n"),
        (2, "", 0, "", True, "99.80% of the bytes came without a copy\n"),
        (3, "", 0, "", False, "99.70% of the bytes came without a copy: LOW"),
        (1000, "it copies", 0, "", True, "0.00% of the bytes came without a copy\n"),
        (0, "", 1023, "", True, "checksum"),
        (0, "", 1024, "", False, "GROWS: 1024 KiB"),
        (0, "", 0, "00000000", False, ": WRONG\n"),
    ],
)
def test_verdict(
    copied: int,
    copies: str,
    grown: int,
    theirs: str,
    good: bool,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    watch, link = Watch(None), SomeLink(copies)
    for zero_copy, length in ((True, 1000 - copied), (False, copied)):
        watch.look(0, memoryview(bytes(length)), zero_copy)
    monkeypatch.setattr(watch, "growth", lambda: grown)
    untyped: Any = link
    assert watch.verdict(theirs or f"{watch.checksum:08x}", untyped) == good
    assert said in capsys.readouterr().out


def test_growth_counts_from_the_first_second_on(monkeypatch: pytest.MonkeyPatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    kib = iter([5000, 5070])
    monkeypatch.setattr(demo_watch, "anonymous_kib", lambda: next(kib))
    watch = Watch(None)
    watch.tick()
    assert watch.growth() == 0
    now[0] = 1.0
    watch.tick()
    assert watch.growth() == 70
