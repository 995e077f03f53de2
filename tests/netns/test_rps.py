# SPDX-License-Identifier: GPL-2.0
import pytest

from netns.rps import mask


@pytest.mark.parametrize(
    ("cpu", "said"), [(0, "1"), (5, "20"), (31, "80000000"), (32, "1,00000000")]
)
def test_mask(cpu: int, said: str):
    assert mask(cpu) == said
    assert int(said.replace(",", ""), 16) == 1 << cpu
