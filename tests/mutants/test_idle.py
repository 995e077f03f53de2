# SPDX-License-Identifier: GPL-2.0
"""Which tests kill nothing: who meets whom, and when that is known."""

from lib.mutants.catalogue import Mutant
from lib.mutants.idle import Idle
from lib.mutants.order import Test

MUTANTS = [Mutant("m1", ("REG-1",), "", ()), Mutant("m2", ("REG-1", "REG-2"), "", ())]
TESTS = {
    "a": Test(1.0, frozenset({"REG-1"})),
    "b": Test(2.0, frozenset({"REG-2", "REG-9"})),
    "c": Test(40.0, frozenset({"REG-1"})),
    "other": Test(1.0, frozenset({"REG-9"})),
}


def test_the_mutant_that_most_tests_should_notice_comes_first():
    idle = Idle(MUTANTS, TESTS)
    assert idle.unasked == ["other"]
    # What takes longer than a run should take waits for another one.
    assert idle.send() == ("m2", ["a", "b"])
    assert idle.send() == ("m1", ["c"])
    assert (idle.send(), idle.busy) == (None, True)


def test_who_has_killed_one_is_done():
    idle = Idle(MUTANTS, TESTS)
    idle.saw("m2", killed=["a", "b"], met=[])
    assert idle.open == ["c"]
    assert idle.send() == ("m2", ["c"])
    idle.saw("m2", killed=[], met=["c"])
    idle.back("m2", whole=True)
    assert idle.send() == ("m1", ["c"])
    idle.saw("m1", killed=[], met=["c"])
    idle.back("m1", whole=True)
    assert (idle.send(), idle.busy, idle.open) == (None, False, [])
    assert idle.idle == ["c"]


def test_who_takes_the_guest_along_comes_last():
    assert Idle(MUTANTS, TESTS, ["m2"]).send() == ("m1", ["a"])
    idle = Idle(MUTANTS, TESTS)
    assert idle.send() == ("m2", ["a", "b"])
    idle.saw("m2", killed=["a"], met=[])
    idle.back("m2", whole=False)
    assert idle.send() == ("m2", ["b"])
    assert idle.send() == ("m1", ["c"])


def test_who_was_noticed_comes_before_who_was_not():
    tests = {f"t{number}": Test(1.0, frozenset({"REG-1"})) for number in range(40)}
    idle = Idle(MUTANTS, tests)
    first = idle.send()
    assert first and len(first[1]) == 8
    idle.saw(first[0], killed=first[1][:6], met=first[1][6:])
    idle.back(first[0], whole=True)
    then = idle.send()
    assert then and then[0] == first[0] and len(then[1]) == 30
    other = Idle(MUTANTS, tests)
    other.saw("m1", killed=[], met=["t0", "t1"])
    assert other.send() == ("m2", sorted(tests)[:8])


def test_a_kill_by_a_test_that_was_not_asked_costs_nothing():
    idle = Idle(MUTANTS, TESTS)
    idle.saw("m1", killed=["gone", "other"], met=["gone"])
    assert len(idle.open) == 3
