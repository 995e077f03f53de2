# SPDX-License-Identifier: GPL-2.0
"""Kernel memory that a registration takes comes back, however it ends, by the caches' own count.

What leaks only now and then, or on a path of no test here, is for kmemleak (--kmemleak).
"""

import errno
import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from fixtures.links import QUEUE, LinkPool
from fixtures.owners import MakeOwner
from fixtures.regions import map_with_a_page_twice
from fixtures.registration import refused, valid
from fixtures.stations import FILL, MakeStation, Station
from lib import caps, slab
from lib.child import Child, Hear, Say
from lib.deadline import scaled, wait_until
from lib.uring import PAGE, Memory, Ring
from lib.zctap import IfqReq, Zctap, register_ifq, unregister_ifq, wait_gone
from lib.zerocopy import Region
from netns import Link

contract = pytest.mark.contract
pytestmark = pytest.mark.zero_copy

ROUNDS = 40  # what else goes on in the kernel is less than half as many objects
FIRST_UID = 70_000  # and up: nobody else's
TRIES = 6
DRAIN = 6.0  # s: kfree_rcu() may keep a few for 5 s (KFREE_DRAIN_JIFFIES, kernel/rcu/tree.c)
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
    """After many rounds no cache has an object more for each of them.

    What debug kernels keep on purpose, the last 128 references that a device has lost for instance
    (lib/ref_tracker.c), comes to an end, and what others take goes elsewhere the next time. So
    there are some tries: what leaks is a cache that grows in each.
    """
    for _ in range(2):
        repeat()  # what is taken once, and kept
    seen: list[dict[str, int]] = []
    for _ in range(TRIES):
        before = in_use(cache)
        for _ in range(rounds):
            repeat()
        look = (before, cache, rounds // 2, seen[-1] if seen else None)
        try:
            # Some is freed a grace period later, or with the process that has ended.
            wait_until(partial(back, *look), "", max(DRAIN, scaled(0.2)), exact=True)
            return
        except TimeoutError:
            seen.append(grown(*look))
    raise AssertionError(f"in use on top after {rounds} rounds, by /proc/slabinfo: {seen}")


def back(before: dict[str, int], cache: str, most: int, only: dict[str, int] | None) -> bool:
    """Whether nothing has grown()."""
    return not grown(before, cache, most, only)


def grown(
    before: dict[str, int], cache: str, most: int, only: dict[str, int] | None
) -> dict[str, int]:
    """How many objects caches have on top (only these caches): those that have more than `most`."""
    more = {name: count - before.get(name, 0) for name, count in in_use(cache).items()}
    return {
        name: count
        for name, count in more.items()
        if count > most and (only is None or name in only)
    }


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


@contract("DEV-1", "BUF-2")
def test_frames(prompt_frees: None, station: Station) -> None:
    """Frames are received over and over: nothing stays allocated."""
    flow = station.flow()

    def repeat() -> None:
        flow.tcp.send(1000)
        flow.drain(1000)

    all_comes_back(repeat)


def cache_of(name: str) -> str:
    """The cache that such objects come from: SLUB merges those of one size."""
    where = (slab.CACHES / name).resolve()
    for known in in_use(""):
        if (slab.CACHES / known).resolve() == where:
            return known
    pytest.skip(f"no {name} in /proc/slabinfo")


@contract("REG-21", "REG-19", "REL-7")
def test_users_who_are_gone(zctap: Zctap, steered_link: Link, explicit: None) -> None:
    """Users who had an ifq each, and have gone: of none does the kernel keep the account."""
    rx, uids = steered_link.rx, itertools.count(FIRST_UID)

    def repeat() -> None:
        uid = next(uids)

        def body(say: Say, hear: Hear) -> None:
            caps.become(uid, caps.CAP_NET_ADMIN)
            with Ring(8) as ring, Region(PAGES) as region:
                region.register(ring)
                request = IfqReq(
                    ifindex=rx.ifindex,
                    queue_id=QUEUE,
                    fill_bgid=FILL,
                    region_id=region.index,
                )
                register_ifq(ring, zctap, request)
                unregister_ifq(ring, zctap, IfqReq())  # the queue is free at once (REL-4)
            say("done")
            hear()

        with rx.ns.entered():
            child = Child(body)
        with child:
            child.expect("done")
            child.finish()

    all_comes_back(repeat, cache_of("uid_cache"), 10)
