# SPDX-License-Identifier: GPL-2.0
"""Kernel memory that a registration takes comes back, however it ends, by the caches' own count.

What leaks only now and then, or on a path of no test here, is for kmemleak (--kmemleak).
"""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.links import LinkPool
from fixtures.owners import MakeOwner
from fixtures.regions import map_with_a_page_twice
from fixtures.registration import refused, valid
from fixtures.stations import MakeStation, Station
from lib import slab
from lib.deadline import wait_until
from lib.uring import PAGE, Memory
from lib.zctap import wait_gone
from netns import Link

contract = pytest.mark.contract
pytestmark = pytest.mark.zero_copy

ROUNDS = 40  # what else goes on in the kernel is less than half as many objects
PAGES = 4  # few, so that what the kernel keeps of them comes from a cache, and not as whole pages


def in_use(*caches: str) -> dict[str, int]:
    """Objects in use; skips where they cannot be counted."""
    found = slab.objects(*caches)
    if not found:
        pytest.skip(f"no {caches} in /proc/slabinfo (CONFIG_SLUB_DEBUG)")
    return found


def all_comes_back(
    repeat: Callable[[], None], cache: str = "kmalloc-", rounds: int = ROUNDS
) -> None:
    """After many rounds no cache has an object more for each of them."""
    for _ in range(2):
        repeat()  # what is taken once, and kept
    before = in_use(cache)

    def grown() -> dict[str, int]:
        after = in_use(cache)
        more = {name: count - before.get(name, 0) for name, count in after.items()}
        return {name: count for name, count in more.items() if count > rounds // 2}

    for _ in range(rounds):
        repeat()
    # Some is freed a grace period later, or with the process that has ended.
    wait_until(
        lambda: not grown(),
        lambda: (
            f"after {rounds} rounds these have as many more objects (/proc/slabinfo): {grown()}"
        ),
        5,
    )


@contract("REG-20", "REL-7")
def test_unregistered(make_station: MakeStation, explicit: None) -> None:
    """Registered and unregistered over and over: nothing stays allocated."""
    station = make_station(pages=PAGES)

    def repeat() -> None:
        assert station.ifq is not None
        station.ifq.close()
        station.gone()
        station.register()

    all_comes_back(repeat)


@contract("REG-18", "REG-14")
def test_refused_by_the_device(station: Station, make_station: MakeStation) -> None:
    """Refused over and over as the queue is bound: nothing stays allocated."""
    second = make_station(pages=PAGES, register=False)
    all_comes_back(lambda: refused(second, errno.EBUSY, valid(second)))


@contract("REG-18", "REG-10")
def test_refused_for_a_page(make_station: MakeStation) -> None:
    """Refused over and over as a page is there twice: nothing stays allocated."""
    station = make_station(pages=PAGES, register=False)
    with Memory(PAGES * PAGE) as memory:
        map_with_a_page_twice(memory, 0, PAGES - 1)
        station.ring.update_buffer(0, memory.addr, memory.size)
        all_comes_back(lambda: refused(station, errno.EEXIST, valid(station)))


@contract("REG-16", "REG-18", "DEV-6")
def test_failed_mapping(make_station: MakeStation, fail_map: Path) -> None:
    """A DMA mapping fails over and over: nothing stays allocated."""
    station = make_station(pages=PAGES, register=False)

    def repeat() -> None:
        fail_map.write_text("2")
        refused(station, errno.ENOMEM, valid(station))

    all_comes_back(repeat)


@contract("REG-19", "REL-7")
def test_killed_processes(make_owner: MakeOwner, steered_link: Link, link_pool: LinkPool) -> None:
    """Processes that had an ifq and were killed: of none does the memory map stay."""

    def repeat() -> None:
        owner = make_owner(steered_link, pages=PAGES)
        owner.kill()
        if owner.entry is None:
            pytest.skip("this kernel shows no ifq in debugfs")
        wait_gone(owner.entry, link_pool.flusher().flush)

    all_comes_back(repeat, "mm_struct", 10)
