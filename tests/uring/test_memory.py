# SPDX-License-Identifier: GPL-2.0
"""Memory whose pages are changed under its addresses, and regions that are parts of it."""

import mmap
import os

import pytest

from lib.uring import PAGE, Memory
from lib.zerocopy import Region


def test_two_mappings_of_a_file_share_its_pages() -> None:
    fd = os.memfd_create("shared")
    try:
        os.ftruncate(fd, 2 * PAGE)
        with Memory(4 * PAGE) as one, Memory(PAGE) as other:
            one.view[0], one.view[3 * PAGE] = 1, 2
            one.overlay(fd, at=PAGE, size=2 * PAGE)
            other.overlay(fd, offset=PAGE)
            other.view[5] = 7
            assert one.view[2 * PAGE + 5] == 7
            assert (one.view[0], one.view[3 * PAGE]) == (1, 2)
    finally:
        os.close(fd)


def test_new_memory_takes_the_place_of_old() -> None:
    with Memory(2 * PAGE) as memory:
        memory.view[0] = memory.view[PAGE] = 1
        memory.overlay(at=PAGE)
        assert (memory.view[0], memory.view[PAGE]) == (1, 0)


def test_pages_move_away() -> None:
    with Memory(PAGE) as memory, Memory(PAGE) as other:
        memory.view[:3] = b"abc"
        memory.move_to(other)
        assert (bytes(other.view[:3]), bytes(memory.view[:3])) == (b"abc", bytes(3))


def test_advice_and_protection_concern_a_part() -> None:
    with Memory(3 * PAGE) as memory:
        memory.view[0] = memory.view[PAGE] = memory.view[2 * PAGE] = 1
        memory.advise(mmap.MADV_DONTNEED, at=PAGE, size=PAGE)
        memory.protect(mmap.PROT_READ, at=PAGE, size=PAGE)
        assert [memory.view[at * PAGE] for at in range(3)] == [1, 0, 1]
        memory.view[2 * PAGE] = 2


@pytest.mark.parametrize(("at", "size"), [(2 * PAGE, PAGE), (0, 3 * PAGE), (-PAGE, PAGE)])
def test_nothing_outside_is_touched(at: int, size: int) -> None:
    with Memory(2 * PAGE) as memory, pytest.raises(ValueError, match="not inside"):
        memory.overlay(at=at, size=size)


def test_failure_has_its_errno() -> None:
    fd = os.open(__file__, os.O_RDONLY)  # cannot be mapped shared and writable
    try:
        with Memory(PAGE) as memory, pytest.raises(PermissionError, match="mmap"):
            memory.overlay(fd)
    finally:
        os.close(fd)


def test_region_is_a_part_of_the_memory() -> None:
    with Memory(4 * PAGE) as memory:
        with Region(2, memory=memory, first=1) as region:
            assert (region.addr, region.size) == (memory.addr + PAGE, 2 * PAGE)
            region.piece(1, 8, 4)[:] = b"here"
            with pytest.raises(IndexError):
                region.piece(2, 0, 1)
        assert bytes(memory.view[2 * PAGE + 8 : 2 * PAGE + 12]) == b"here"
        with pytest.raises(ValueError, match="beyond"):
            Region(2, memory=memory, first=3)
