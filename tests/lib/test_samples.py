# SPDX-License-Identifier: GPL-2.0
from lib import samples


def test_what_is_noted_can_be_taken_once():
    samples.take()
    samples.note("ifq 1", [5.0, 5.5, 6.0], {"free": [4, 3, 4], "user": [0, 1, 0]})
    samples.note("ifq 2", [], {"free": []})
    assert samples.take() == [
        {"of": "ifq 1", "t": [0.0, 0.5, 1.0], "values": {"free": [4, 3, 4], "user": [0, 1, 0]}}
    ]
    assert samples.take() == []


def test_repetitions_go_first_but_for_the_end():
    assert samples.worth_keeping([1, 1, 1, 2, 2, 1, 1, 1]) == [0, 3, 5, 7]
    assert samples.worth_keeping([]) == []
    assert samples.worth_keeping([1]) == [0]


def test_there_is_a_limit():
    kept = samples.worth_keeping(range(10000), most=100)
    assert (len(kept), kept[0], kept[-1]) == (100, 0, 9999)
    assert kept == sorted(set(kept))
    samples.take()
    for number in range(50):
        samples.note(f"ifq {number}", range(1000), {"free": list(range(1000))})
    found = samples.take()
    assert len(found) < 10
    assert all(len(one["t"]) == samples.POINTS for one in found)
