# SPDX-License-Identifier: GPL-2.0
"""Modules are dealt out whole, none twice, none forgotten, and about evenly."""

import pytest

from lib.run.shares import split, stages, weights


def test_each_module_once_and_in_order():
    weighted = {f"m{number}": float(number % 7 + 1) for number in range(30)}
    shares = split(weighted, 3)
    assert sorted(name for share in shares for name in share) == sorted(weighted)
    for share in shares:
        assert share == [name for name in weighted if name in share]


def test_loads_are_even():
    weighted = {f"m{number}": float(number) for number in range(1, 40)}
    loads = [sum(weighted[name] for name in share) for share in split(weighted, 2)]
    assert max(loads) - min(loads) <= 1


@pytest.mark.parametrize(
    ("seconds", "guests", "used"),
    [([1.0], 4, 1), ([2.0, 2.0], 4, 1), ([40.0, 40.0], 4, 2), ([40.0] * 9, 4, 4), ([40.0], 1, 1)],
)
def test_no_guest_without_work(seconds: list[float], guests: int, used: int):
    weighted = {f"m{number}": value for number, value in enumerate(seconds)}
    assert len(split(weighted, guests)) == used


def test_modules_without_history_weigh_as_their_size():
    known = {"a.py::x": 3.0, "a.py::y[1]": 1.0, "gone.py::z": 100.0}
    found = weights({"a.py": 1000, "new.py": 2000}, known)
    assert found["a.py"] == pytest.approx(4.1)
    assert found["new.py"] == pytest.approx(8.1)
    assert set(weights({"a.py": 1024}, {})) == {"a.py"}


def test_the_first_stage_is_a_quick_module_that_the_seed_chooses():
    share = [f"m{number}.py" for number in range(8)]
    weights = {name: float(number) for number, name in enumerate(share)}
    heads = set()
    for seed in range(50):
        first, rest = stages(share, weights, seed)
        assert sorted(first + rest) == share
        heads |= set(first)
    assert heads == set(share[:4])


def test_a_small_share_has_one_stage():
    assert stages(["m.py", "n.py"], {"m.py": 1.0, "n.py": 1.0}, 1) == [["m.py", "n.py"]]
