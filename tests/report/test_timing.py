# SPDX-License-Identifier: GPL-2.0
"""Where the time went."""

from lib.report.model import Result
from lib.report.timing import Timing, lines


def result(name: str, duration: float, **waits: float) -> Result:
    return Result(f"m.py::{name}", "passed", duration, waits=waits)


def test_report():
    results = [result(f"fast{n}", 0.01) for n in range(12)]
    results += [result("slow", 3.0, gone=2.0, ready=0.5), result("slower", 4.0, gone=1.0)]
    found = list(lines(Timing("plain", tuple(results), floor=2.0, first=3.5, whole=20.0)))
    assert "    20.0 s  to the end of 14 tests: 10.0 floors" in found
    assert found[6:8] == [
        "    4.00 s  m.py::slower: 1.00 s gone",
        "    3.00 s  m.py::slow: 2.00 s gone, 0.50 s ready",
    ]
    assert found[8] == "    0.01 s  m.py::fast0: nothing"
    assert found[16:] == [
        "what all tests together wait for:",
        "    3.00 s  gone (2 tests)",
        "    0.50 s  ready (1 tests)",
    ]
