# SPDX-License-Identifier: GPL-2.0
"""The guards are for tests of a kernel; the project's unit tests under tests/ go without."""

import pytest


@pytest.fixture(autouse=True)
def guarded(kmemleak_guard: None, kernel_log_guard: None, leak_guard: None) -> None:
    """Every test here is watched: kernel log, descriptors, links, pinned memory, ifqs."""
