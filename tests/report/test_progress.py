# SPDX-License-Identifier: GPL-2.0
import pytest

from lib.report.model import Result
from lib.report.progress import Progress, clock


def progress(durations: dict[str, float], *outcomes: str, guests: int = 1) -> Progress:
    """Ten tests, of which the first have these outcomes."""
    found = Progress(durations, guests)
    found.announce([f"m::{number}" for number in range(10)])
    for number, outcome in enumerate(outcomes):
        found.add(Result(f"m::{number}", outcome))
    return found


def test_what_is_done_is_counted_by_kind():
    found = progress({}, "passed", "failed", "panic", "skipped", "timeout", "xfailed")
    assert (found.done, found.total) == (6, 10)
    assert found.counts() == "1 failed, 2 lost"
    assert progress({}, "passed").counts() == ""


def test_test_that_nobody_announced_counts():
    found = progress({})
    found.add(Result("guest-1", "crashed"))
    assert (found.done, found.total) == (1, 11)


def test_without_durations_the_rate_decides():
    assert progress({}).left(5) is None
    assert progress({}, "passed", "passed").left(5) == pytest.approx(20)


def test_the_last_run_is_believed_at_first_and_this_one_more_and_more():
    durations = {f"m::{number}": 10.0 for number in range(10)}
    assert progress(durations).left(0) == pytest.approx(100)
    assert progress(durations, guests=2).left(0) == pytest.approx(50)
    # Half the work took twice as long as it should have.
    slow = progress(durations, *["passed"] * 5).left(100)
    assert slow is not None
    assert 80 < slow < 100
    done = progress(durations, *["passed"] * 10).left(100)
    assert done == 0


def test_unknown_test_takes_as_long_as_others():
    assert progress({"n::a": 3.0}).left(0) == pytest.approx(30)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "?"), (0.4, "0 s"), (59.4, "59 s"), (185, "3:05 min"), (3725, "1:02 h")],
)
def test_clock(seconds: float | None, text: str):
    assert clock(seconds) == text
