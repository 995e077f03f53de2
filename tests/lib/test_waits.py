# SPDX-License-Identifier: GPL-2.0
"""The book of waits."""

import pytest

from lib import waits
from lib.deadline import wait_until


def test_waits_add_up_and_are_forgotten():
    waits.take()
    for what, seconds in (("a", 0.1), ("b", 1.0), ("a", 0.2), ("c", 0.0001)):
        waits.note(what, seconds)
    assert waits.take() == {"b": 1.0, "a": 0.3}
    assert waits.take() == {}


def test_a_condition_is_named_by_its_place():
    waits.take()
    with pytest.raises(TimeoutError):
        wait_until(lambda: False, "never", 0.001)
    assert list(waits.take()) == [f"{__name__}.test_a_condition_is_named_by_its_place.<lambda>"]
