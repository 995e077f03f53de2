# SPDX-License-Identifier: GPL-2.0
import pytest

from lib.bench.processors import between, moment, read

BEFORE = """\
cpu  10 0 20 300 40 0 5 7 0 0
cpu0 5 0 10 100 40 0 5 7 0 0
cpu1 5 0 10 200 0 0 0 0 0 0
intr 1 2 3
"""
AFTER = """\
cpu  10 0 20 350 50 0 5 27 0 0
cpu0 5 0 10 100 50 0 5 27 0 0
cpu1 5 0 10 250 0 0 0 0 0 0
"""


def test_busy_is_what_is_not_idle():
    found = between(read(BEFORE, 10.0), read(AFTER, 11.0), receiver=0, sender=1)
    assert (found.elapsed, found.cpus) == (1.0, 2)
    assert found.receiver == found.receiver_share == pytest.approx(0.9)
    assert found.sender == found.sender_share == pytest.approx(0.5)
    assert found.busy == pytest.approx(1.4)
    assert found.stolen == pytest.approx(0.2)
    assert found.stolen_share == pytest.approx(0.1)


def test_of_this_machine():
    before = moment()
    cpus = sorted(before.idle)
    found = between(before, moment(), receiver=cpus[-1], sender=cpus[0])
    assert found.elapsed > 0
    assert found.cpus == len(cpus)
