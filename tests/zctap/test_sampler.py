# SPDX-License-Identifier: GPL-2.0
"""The sampler and its judgement, on files made here."""

from pathlib import Path

import pytest

from lib.deadline import wait_until
from lib.zctap import Accounting, Counters, Entry, Sampler
from lib.zctap.debugfs import PageRefs
from lib.zctap.rest import summed
from lib.zctap.sampler import wrong_accounting, wrong_counters, wrong_refs

NAMES = list(Counters.__dataclass_fields__)


def counters(number: int) -> Counters:
    return Counters(*[number] * len(NAMES))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "3"
    path.mkdir()
    (path / "accounting").write_text("free: 2\ndriver: 1\nskb: 0\nuser: 1\npages: 4\n")
    (path / "counters").write_text("\n".join(f"{name}: 7" for name in NAMES))
    (path / "refs").write_text("0 1 0 0\n3 0 0 2\n")
    return path


@pytest.mark.parametrize(
    ("seen", "text"),
    [
        (Accounting(1, 1, 1, 1, 4), ""),
        (Accounting(4, 0, 0, 0, 4), ""),
        (Accounting(3, 0, 0, 0, 4), "not conserved"),
        (Accounting(4, 0, 0, 1, 4), "not conserved"),
        (Accounting(5, 0, -1, 0, 4), "negative"),
        (Accounting(5, 0, 0, 0, 5), "the region has 4"),
    ],
)
def test_accounting_is_judged(seen: Accounting, text: str) -> None:
    assert text in wrong_accounting(seen, 4)
    assert bool(text) == bool(wrong_accounting(seen, 4))


def test_counters_only_count_up() -> None:
    assert wrong_counters(counters(3), counters(3)) == ""
    assert wrong_counters(counters(3), counters(4)) == ""
    assert "backwards" in wrong_counters(counters(4), counters(3))


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ([], ""),
        ([PageRefs(0, 1, 0, 0), PageRefs(3, 0, 5, 2)], ""),
        ([PageRefs(4, 1, 0, 0)], "no such page"),
        ([PageRefs(1, 1, 0, 0), PageRefs(1, 1, 0, 0)], "twice"),
        ([PageRefs(1, 2, 0, 0)], "impossible"),
        ([PageRefs(1, 0, -1, 1)], "impossible"),
        ([PageRefs(1, 0, 0, 0)], "without a reference"),
    ],
)
def test_refs_are_judged(lines: list[PageRefs], text: str) -> None:
    assert text in wrong_refs(lines, 4)
    assert bool(text) == bool(wrong_refs(lines, 4))


def test_references_are_summed_in_their_order() -> None:
    lines = [PageRefs(0, 1, 1, 1), PageRefs(1, 0, 2, 1), PageRefs(2, 0, 0, 9)]
    assert summed(lines, 8) == Accounting(5, 1, 1, 1, 8)


def test_samples_are_taken_until_the_end(path: Path) -> None:
    sampler = Sampler(Entry(path), 4, interval=0.001)
    wait_until(lambda: len(sampler.samples) > 3, "no samples")
    samples = sampler.stop()
    assert sampler.stop() is samples
    assert samples[0].accounting == Accounting(2, 1, 0, 1, 4)
    times = [sample.time for sample in samples]
    assert times == sorted(times)


def lose_a_page(path: Path) -> None:
    fresh = path / "fresh"  # renamed: nobody reads half of it
    fresh.write_text("free: 1\ndriver: 1\nskb: 0\nuser: 1\npages: 4\n")
    fresh.rename(path / "accounting")


def test_a_fault_is_reported_once_stopped(path: Path) -> None:
    sampler = Sampler(Entry(path), 4)
    lose_a_page(path)
    with pytest.raises(AssertionError, match="not conserved"):
        sampler.stop()


def test_an_error_inside_goes_first(path: Path) -> None:
    with pytest.raises(KeyError), Sampler(Entry(path), 4):
        lose_a_page(path)
        raise KeyError


def test_a_region_that_goes_ends_it(path: Path) -> None:
    with Sampler(Entry(path), 4, interval=0.001) as sampler:
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
        wait_until(lambda: sampler.gone, "it goes on")


def test_a_read_that_fails_is_a_fault_if_another_works(path: Path) -> None:
    text = (path / "counters").read_text()
    with pytest.raises(AssertionError, match="a read failed, and not because"):  # noqa: SIM117
        with Sampler(Entry(path), 4, interval=0.001) as sampler:
            (path / "counters").unlink()
            before = len(sampler.samples)
            wait_until(lambda: sampler._unread, "it is not missed")
            (path / "counters").write_text(text)
            wait_until(lambda: len(sampler.samples) > before + 1, "it has stopped")
