# SPDX-License-Identifier: GPL-2.0
import pytest

from lib.sizes import size_of


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1000, "1000 bytes"),
        (1 << 16, "64 KiB"),
        (1536, "1.5 KiB"),
        (1 << 20, "1 MiB"),
        (10 << 30, "10 GiB"),
        (5 << 40, "5120 GiB"),
    ],
)
def test_sizes_have_units(count: float, text: str):
    assert size_of(count) == text
