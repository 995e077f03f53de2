# SPDX-License-Identifier: GPL-2.0
"""Which tests meet a mutant first."""

from lib.mutants.catalogue import Mutant
from lib.mutants.order import Learned, Test, stages

MUTANT = Mutant("m", ("REG-1", "REG-2"), "breaks", ())
NOTHING = Learned()


def made(*contract: str, duration: float = 0.1) -> Test:
    return Test(duration, frozenset(contract))


def test_those_that_show_a_broken_promise_come_first():
    tests = {"a": made("BUF-1"), "b": made("REG-1", "BUF-1"), "c": made("REG-2")}
    assert stages(MUTANT, tests, NOTHING, {}) == ([["c", "b"]], ["a"])


def test_each_test_once_and_all_of_them():
    tests = {f"t{n}": made("REG-1" if n % 2 else "BUF-1", duration=0.3) for n in range(200)}
    found, others = stages(MUTANT, tests, NOTHING, {})
    assert sorted([name for stage in found for name in stage] + others) == sorted(tests)
    assert ([len(stage) for stage in found], len(others)) == ([8, 40, 52], 100)


def test_one_that_takes_long_is_a_stage_of_its_own():
    tests = {"a": made("REG-1", "REG-2", duration=30), "b": made("REG-1")}
    assert stages(MUTANT, tests, NOTHING, {}) == ([["a"], ["b"]], [])


def test_both_promises_are_better_than_one():
    tests = {"a": made("REG-1"), "b": made("REG-1", "REG-2", "BUF-1")}
    assert stages(MUTANT, tests, NOTHING, {})[0] == [["b", "a"]]


def test_what_killed_it_before_comes_before_all():
    tests = {"a": made("REG-1"), "b": made("BUF-1", duration=5), "c": made("BUF-1")}
    learned = Learned({"m": ["b", "gone"], "other": ["c"]})
    assert stages(MUTANT, tests, learned, {}) == ([["b"], ["a"]], ["c"])


def test_what_killed_others_of_its_kind_is_tried_before_what_did_not():
    tests = {"a": made("REG-1"), "b": made("REG-1")}
    learned = Learned({"other": ["b"], "third": ["a", "b"]})
    kills = learned.kills_of({"other": ("REG-1",), "third": ("REG-2", "REG-1")})
    assert kills == {("b", "REG-1"): 2, ("a", "REG-2"): 1, ("b", "REG-2"): 1, ("a", "REG-1"): 1}
    assert stages(MUTANT, tests, learned, kills)[0] == [["b", "a"]]


def test_nothing_related():
    assert stages(MUTANT, {"a": made("BUF-1")}, NOTHING, {}) == ([], ["a"])
    assert stages(MUTANT, {}, NOTHING, {}) == ([], [])
