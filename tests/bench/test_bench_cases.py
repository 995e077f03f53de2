# SPDX-License-Identifier: GPL-2.0
from collections import Counter
from itertools import pairwise, permutations

import pytest

from lib.bench.case import ROUNDS, WAYS, Setting, length, orders, part, settings, steps


def test_every_round_has_everything():
    wanted = settings((1024, 65536), (4, 1, 1), (1500,), (True,))
    assert [str(one) for one in wanted] == [
        "1 KiB writes, 1 flow, MTU 1500, TSO on",
        "64 KiB writes, 1 flow, MTU 1500, TSO on",
        "1 KiB writes, 4 flows, MTU 1500, TSO on",
        "64 KiB writes, 4 flows, MTU 1500, TSO on",
    ]
    found = list(steps(wanted, 5))
    assert len(found) == len(set(found)) == 5 * 4 * len(WAYS)
    # The ways of a setting follow each other.
    for at in range(0, len(found), len(WAYS)):
        assert len({step.setting for step in found[at : at + len(WAYS)]}) == 1


def links(mtus: tuple[int, ...] = (), tso: tuple[bool, ...] = ()) -> list[str]:
    return [one.link for one in settings((1,), (1,), mtus, tso)]


def test_links():
    assert links() == ["MTU 1500, TSO off", "MTU 1500, TSO on", "MTU 4148, TSO off"]
    assert links((9000,)) == ["MTU 9000, TSO off", "MTU 9000, TSO on"]
    assert links((), (False,)) == ["MTU 1500, TSO off", "MTU 4148, TSO off"]
    assert links((9000,), (True, True)) == ["MTU 9000, TSO on"]
    assert len(settings()) == 12


@pytest.mark.parametrize("count", [2, 4, 6])
def test_orders_are_balanced(count: int):
    found = orders(count)
    pairs = Counter(pair for one in found for pair in pairwise(one))
    assert pairs == Counter(permutations(range(count), 2))
    for place in zip(*found, strict=True):
        assert sorted(place) == list(range(count))


def test_what_a_way_follows_and_where_it_is_are_balanced():
    wanted = settings()
    found = list(steps(wanted, ROUNDS))
    for setting in wanted:
        turns = [
            [step.way for step in found if (step.setting, step.round) == (setting, number)]
            for number in range(ROUNDS)
        ]
        pairs = Counter(pair for turn in turns for pair in pairwise(turn))
        assert pairs == Counter(permutations(WAYS, 2))
        assert sorted(turn[0] for turn in turns) == sorted(WAYS)
    for number in range(ROUNDS):
        of = [step for step in found if step.round == number]
        firsts = Counter(step.way for step in of[:: len(WAYS)])
        assert set(firsts.values()) == {len(wanted) // len(WAYS)}


def test_a_part_is_a_quarter_in_whole_writes():
    setting = Setting(1500, True, 3, 1 << 20)
    assert part(24 << 20, setting) == 6 << 20
    assert part(9 << 20, setting) == 3 << 20


@pytest.mark.parametrize("rate", [0, 1e3, 1e9, 1e15])
@pytest.mark.parametrize("setting", [Setting(1500, True, 1, 1000), Setting(1500, True, 3, 1 << 20)])
def test_length_is_whole_writes_on_every_flow(rate: float, setting: Setting):
    found = length(rate, 0.5, setting)
    assert found % (setting.size * setting.flows) == 0
    assert 1 << 20 <= found <= 9 << 30
