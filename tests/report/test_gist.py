# SPDX-License-Identifier: GPL-2.0
from lib.report.gist import gist
from lib.report.model import Result


def test_reason_comes_first_then_the_exception_then_the_end():
    detail = "m.py:3: in test_a\n    assert x\nE   AssertionError: why\nE   assert 1 == 2\nE\n"
    assert gist(Result("m::a", "panic", reason="the guest panicked", detail=detail)) == [
        "the guest panicked"
    ]
    assert gist(Result("m::a", "failed", detail=detail)) == [
        "AssertionError: why",
        "assert 1 == 2",
    ]
    assert gist(Result("m::a", "failed", detail="1\n2\n\n3\n4\n")) == ["2", "3", "4"]
    assert gist(Result("m::a", "failed")) == []
