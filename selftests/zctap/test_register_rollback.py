# SPDX-License-Identifier: GPL-2.0
"""Registrations that fail half-way are rolled back; and how large a region may be."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.links import UNUSED_QUEUE
from fixtures.regions import big_memory
from fixtures.registration import Traces, accepted, answer, receives, refused, valid
from fixtures.stations import MakeStation, Station
from lib import caps
from lib.child import Child, Hear, Say
from lib.uring import PAGE
from lib.zerocopy import Region
from netns import Link

contract = pytest.mark.contract
# Regions are small here, and must not run dry for pages that are parked on an idle CPU.
pytestmark = pytest.mark.usefixtures("pins_return", "prompt_frees")

FAIL_MAP = Path("/sys/kernel/debug/veth/zctap_fail_map")
MOST = 65_536  # pages of a region


@pytest.fixture
def fail_map() -> Iterator[Path]:
    """The reference device's switch that fails the n-th DMA mapping; off again afterwards."""
    if not FAIL_MAP.exists():
        pytest.skip(f"this kernel has no {FAIL_MAP}")
    yield FAIL_MAP
    FAIL_MAP.write_text("0")


@contract("REG-16", "REG-18", "DEV-6")
@pytest.mark.parametrize("pages", [1, 5])
def test_each_mapping_that_fails_is_rolled_back(
    make_station: MakeStation, fail_map: Path, pages: int
) -> None:
    """The n-th DMA mapping fails: ENOMEM for every n there is, and the next call succeeds."""
    station = make_station(pages=pages, register=False)
    before = Traces.now()
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


@contract("REG-18")
def test_refusals_do_not_hold_the_device(
    own_link: Link, make_station: MakeStation, fail_map: Path
) -> None:
    """After a refusal of every kind the device can be deleted at once."""
    station = make_station(own_link, pages=8, register=False)
    rx = own_link.rx
    holder = make_station(own_link, pages=8, queue=UNUSED_QUEUE)
    station.ring.update_buffer(1, station.region.addr + 512, PAGE)
    station.ring.update_buffer(2, holder.region.addr, PAGE)
    said = [
        answer(station, valid(station), nr_args=2),
        answer(station, valid(station, ifq_id=1)),
        answer(station, valid(station, region_id=9)),
        answer(station, valid(station, region_id=1)),
        answer(station, valid(station, region_id=2)),
        answer(station, valid(station, queue_id=99)),
        answer(station, valid(station, queue_id=UNUSED_QUEUE)),
        answer(holder, valid(holder)),
    ]
    with caps.without(caps.CAP_NET_ADMIN):
        said.append(answer(station, valid(station)))
    fail_map.write_text("3")
    said.append(answer(station, valid(station)))
    fail_map.write_text("0")
    assert said == [
        "EINVAL",
        "EFAULT",
        "EFAULT",
        "EFAULT",
        "EEXIST",
        "EINVAL",
        "EBUSY",
        "EBUSY",
        "EPERM",
        "ENOMEM",
    ]
    holder.close()

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
    """65,536 pages work, their ids included; one more is E2BIG."""
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
