# SPDX-License-Identifier: GPL-2.0
import pytest

from lib.bench.case import WAYS, Setting, length, settings, steps


def test_every_round_has_everything_and_begins_with_another_way():
    wanted = settings((1024, 65536), (4, 1, 1), (1500,))
    assert [str(one) for one in wanted] == [
        "1 KiB writes, 1 flow, MTU 1500",
        "64 KiB writes, 1 flow, MTU 1500",
        "1 KiB writes, 4 flows, MTU 1500",
        "64 KiB writes, 4 flows, MTU 1500",
    ]
    found = list(steps(wanted, 5))
    assert len(found) == len(set(found)) == 5 * 4 * len(WAYS)
    firsts = [step.way for step in found[:: 4 * len(WAYS)]]
    assert firsts == [*WAYS, "recv"]
    # The ways of a setting follow each other.
    for at in range(0, len(found), len(WAYS)):
        assert len({step.setting for step in found[at : at + len(WAYS)]}) == 1


@pytest.mark.parametrize("rate", [0, 1e3, 1e9, 1e15])
@pytest.mark.parametrize("setting", [Setting(1500, 1, 1000), Setting(1500, 3, 1 << 20)])
def test_length_is_whole_writes_on_every_flow(rate: float, setting: Setting):
    found = length(rate, 0.5, setting)
    assert found % (setting.size * setting.flows) == 0
    assert 1 << 20 <= found <= 9 << 30
