# SPDX-License-Identifier: GPL-2.0
"""Registrations that fail half-way are rolled back; and how large a region may be."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.faults import FAIL_MAP
from fixtures.links import UNUSED_QUEUE
from fixtures.regions import big_memory, map_with_a_page_twice
from fixtures.registration import (
    Traces,
    accepted,
    answer,
    mapped_at_most,
    no_room_for_a_region,
    receives,
    refused,
    valid,
)
from fixtures.stations import MakeStation, Station
from lib import caps, dma
from lib.child import Child, Hear, Say
from lib.uring import PAGE, Memory
from lib.zerocopy import Region
from netns import Link

contract = pytest.mark.contract
# Regions are small here, and must not run dry for pages that are parked on an idle CPU.
pytestmark = [pytest.mark.zero_copy, pytest.mark.usefixtures("pins_return", "prompt_frees")]

MOST = 65_536  # pages of a region


@contract("REG-16", "REG-18", "DEV-6")
@pytest.mark.parametrize("pages", [1, 5])
def test_each_mapping_that_fails_is_rolled_back(
    make_station: MakeStation, fail_map: Path, pages: int
) -> None:
    """The n-th DMA mapping fails: ENOMEM for every n there is, and the next call succeeds."""
    station = make_station(pages=pages, register=False)
    before, mapped = Traces.now(), dma.mapped() or 0
    for nth in range(1, pages + 2):
        fail_map.write_text(str(nth))
        said, left = answer(station, valid(station)), int(fail_map.read_text())
        if not said:
            assert left, f"mapping {nth} was to fail, and the registration worked all the same"
            assert nth > 1, "the registration mapped nothing"
            break
        assert (said, left) == ("ENOMEM", 0), f"mapping {nth} was to fail; the switch shows {left}"
        after = Traces.now()
        assert after.none_since(before), f"mapping {nth}: {after}, before the call {before}"
        mapped_at_most(mapped, f"after mapping {nth} failed")
    else:
        raise AssertionError(f"more than {pages} mappings for {pages} pages")


@contract("REG-16", "REG-18")
def test_region_works_after_a_failed_mapping(make_station: MakeStation, fail_map: Path) -> None:
    """What was rolled back in the middle of the region is bound and filled as if new."""
    station = make_station(pages=64, register=False)
    fail_map.write_text("40")
    refused(station, errno.ENOMEM, valid(station))
    accepted(station)
    receives(station, 4 * station.region.size)


@contract("REG-16", "REG-23")
def test_failed_mapping_ranks_behind_the_queue(
    station: Station, make_station: MakeStation, fail_map: Path
) -> None:
    """A mapping would fail, and the queue is bound: EBUSY, as the driver is asked first."""
    second = make_station(pages=4, register=False)
    fail_map.write_text("1")
    refused(second, errno.EBUSY, valid(second))
    refused(second, errno.EINVAL, valid(second, queue_id=99))
    assert int(fail_map.read_text()) == 1, "pages were mapped before the driver was asked"
    station.close()
    refused(second, errno.ENOMEM, valid(second))
    accepted(second)


@contextlib.contextmanager
def too_many_pages() -> Iterator[Memory]:
    """A page more than a region may have, on no more memory than 2 MiB, over and over."""
    size, piece = (MOST + 1) * PAGE, 512 * PAGE
    fd = os.memfd_create("pages")
    try:
        os.ftruncate(fd, piece)
        with Memory(size) as memory:
            for at in range(0, size, piece):
                memory.overlay(fd, at=at, size=min(piece, size - at))
            yield memory
    finally:
        os.close(fd)


@contract("REG-18")
def test_refusals_do_not_hold_the_device(own_link: Link, make_station: MakeStation) -> None:
    """After a refusal of every kind the device can be deleted at once."""
    with caps.without(caps.CAP_IPC_LOCK):  # judged when the ring is made
        station = make_station(own_link, pages=8, register=False)
    rx, ring = own_link.rx, station.ring
    holder = make_station(own_link, pages=8, queue=UNUSED_QUEUE)
    ring.update_buffer(1, station.region.addr + 512, PAGE)
    ring.update_buffer(2, holder.region.addr, PAGE)
    with Memory(8 * PAGE) as memory:
        map_with_a_page_twice(memory, 2, 5)
        ring.update_buffer(3, memory.addr, memory.size)
    said: dict[str, tuple[str, ...]] = {
        "arguments": (answer(station, valid(station), nr_args=2), "EINVAL"),
        "address": (answer(station, 8), "EFAULT"),
        "ifq_id": (answer(station, valid(station, ifq_id=1)), "EFAULT"),
        "no buffer": (answer(station, valid(station, region_id=9)), "EFAULT"),
        "off the page": (answer(station, valid(station, region_id=1)), "EFAULT"),
        "taken": (answer(station, valid(station, region_id=2)), "EEXIST"),
        "page twice": (answer(station, valid(station, region_id=3)), "EEXIST"),
        "no queue": (answer(station, valid(station, queue_id=99)), "EINVAL"),
        "bound queue": (answer(station, valid(station, queue_id=UNUSED_QUEUE)), "EBUSY"),
        "busy": (answer(holder, valid(holder)), "EBUSY"),
    }
    with caps.without(caps.CAP_NET_ADMIN):
        said["capability"] = (answer(station, valid(station)), "EPERM")
    with no_room_for_a_region(), caps.without(caps.CAP_IPC_LOCK):
        said["no room"] = (answer(station, valid(station)), "ENOMEM")
    if FAIL_MAP.exists():
        FAIL_MAP.write_text("3")
        said["mapping"] = (answer(station, valid(station)), "ENOMEM")
        FAIL_MAP.write_text("0")
    holder.close()
    large = make_station(own_link, pages=8, register=False)
    with too_many_pages() as memory:
        large.ring.update_buffer(1, memory.addr, memory.size)
        # Its pages are there over and over, too, and which of the two is said is left open.
        said["too large"] = (answer(large, valid(large, region_id=1)), "E2BIG", "EEXIST")
    large.close()
    wrong = {what: errors for what, errors in said.items() if errors[0] not in errors[1:]}
    assert not wrong, f"(seen, expected): {wrong}"

    def body(say: Say, hear: Hear) -> None:
        with rx.netlink() as ip:
            ip.link("del", index=rx.ifindex)
        say("deleted")
        hear()

    with Child(body) as child:
        child.expect("deleted")  # within 5 s; a reference that is left holds it up for ever
        child.finish()


# -- the largest region --------------------------------------------------------------------


@contract("REG-9", "REG-18")
def test_largest_region(make_station: MakeStation) -> None:
    """65,536 pages are a region, all of them free or posted; one more is E2BIG."""
    with big_memory((MOST + 1) * PAGE) as memory:
        region = Region(MOST, memory=memory)
        station = make_station(region=region, register=False)
        station.ring.update_buffer(1, memory.addr, (MOST + 1) * PAGE)
        refused(station, errno.E2BIG, valid(station, region_id=1))
        accepted(station)
        if station.entry is not None:
            accounting = station.entry.accounting()
            assert accounting.pages == accounting.free + accounting.driver == MOST
        receives(station, 100_000)
        station.close()
