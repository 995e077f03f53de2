# SPDX-License-Identifier: GPL-2.0
"""REGISTER_IFQ refused: each cause by itself, its errno, and that the call works without it."""

import contextlib
import errno
import os
from collections.abc import Iterator

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from fixtures.links import UNUSED_QUEUE
from fixtures.regions import Mappings, map_with_a_page_twice
from fixtures.registration import accepted, active, answer, receives, refused, valid
from fixtures.stations import MakeStation, Station
from lib.uring import PAGE, Memory
from lib.zctap import Zctap, register_ifq
from lib.zerocopy import Region
from netns import End, Link, xdp

contract = pytest.mark.contract
pytestmark = [pytest.mark.zero_copy, pytest.mark.usefixtures("pins_return")]


@contract("REG-1", "REG-18")
def test_null_argument(idle: Station) -> None:
    """No argument is EINVAL."""
    refused(idle, errno.EINVAL, None)
    accepted(idle)


@contract("REG-1", "REG-18")
def test_wrong_number_of_arguments(idle: Station) -> None:
    """Any other number of arguments than one is EINVAL."""
    for nr_args in (0, 2, 0xFFFFFFFF):
        refused(idle, errno.EINVAL, valid(idle), nr_args)
    accepted(idle)


@contract("REG-2", "REG-18")
def test_unreadable_argument(idle: Station) -> None:
    """An argument that is not mapped, or only its first half, is EFAULT."""
    refused(idle, errno.EFAULT, 8)
    with Memory(2 * PAGE) as area:
        area.protect(0, at=PAGE)
        refused(idle, errno.EFAULT, area.addr + PAGE - 8)
        refused(idle, errno.EFAULT, area.addr + PAGE)
    accepted(idle)


@contract("REG-3", "REG-18")
@pytest.mark.parametrize("ifq_id", [1, 0xFFFF])
def test_second_ifq_id(idle: Station, ifq_id: int) -> None:
    """A ring has one ifq, number 0: any other is EFAULT."""
    refused(idle, errno.EFAULT, valid(idle, ifq_id=ifq_id))
    accepted(idle)


@contract("REG-4", "REG-18")
def test_ring_has_an_ifq(station: Station) -> None:
    """A second registration on the ring is EBUSY, and the first goes on working."""
    refused(station, errno.EBUSY, valid(station))
    refused(station, errno.EBUSY, valid(station, queue_id=UNUSED_QUEUE))
    active(station)
    receives(station)


@contract("REG-7", "REG-18")
def test_region_that_is_no_buffer(idle: Station) -> None:
    """An empty slot of the table, and a number beyond it, are EFAULT."""
    for region_id in (1, 15, 16, 0xFFFF):
        refused(idle, errno.EFAULT, valid(idle, region_id=region_id))
    accepted(idle)


@contract("REG-7", "REG-18")
def test_region_without_any_buffers(idle: Station) -> None:
    """A ring without registered buffers: EFAULT, until the region is registered."""
    idle.ring.unregister_buffers()
    refused(idle, errno.EFAULT, valid(idle))
    idle.region.register(idle.ring)
    accepted(idle)


@contract("REG-7", "REG-18")
def test_region_that_was_a_buffer(idle: Station) -> None:
    """A slot that has been emptied again is EFAULT, until it is filled."""
    idle.ring.update_buffer(0, 0, 0)
    refused(idle, errno.EFAULT, valid(idle))
    idle.region.register(idle.ring)
    accepted(idle)


@contract("REG-8", "REG-18")
def test_region_off_the_page(idle: Station) -> None:
    """A region that starts or ends inside a page is EFAULT."""
    region = idle.region
    ends = [(512, 0), (0, -512), (512, -512), (1, 0), (0, -1), (PAGE - 1, 0), (0, 1 - PAGE)]
    ends.append((512, 512 - PAGE))  # neither end, and yet so many pages long
    for begin, end in ends:
        idle.ring.update_buffer(1, region.addr + begin, region.size - begin + end)
        refused(idle, errno.EFAULT, valid(idle, region_id=1))
    accepted(idle)


@contract("REG-8", "REG-18")
def test_region_inside_a_page(idle: Station) -> None:
    """A region shorter than a page is EFAULT, wherever in the page it lies."""
    region = idle.region
    for begin, length in ((0, 512), (512, PAGE - 512), (100, 200), (PAGE - 100, 200)):
        idle.ring.update_buffer(1, region.addr + begin, length)
        refused(idle, errno.EFAULT, valid(idle, region_id=1))
    accepted(idle)


@contract("REG-10", "REG-18")
def test_page_of_another_ifq(station: Station, make_station: MakeStation, zctap: Zctap) -> None:
    """One page that belongs to another ifq is EEXIST, until that one is gone."""
    theirs = station.region
    second = make_station(register=False, queue=UNUSED_QUEUE)
    for first, pages in ((0, 1), (theirs.pages - 1, 1), (0, theirs.pages), (100, 7)):
        second.ring.update_buffer(1, theirs.page_addr(first), pages * PAGE)
        refused(second, errno.EEXIST, valid(second, region_id=1))
    station.close()
    with second.link.rx.ns.entered():
        register_ifq(second.ring, zctap, valid(second, region_id=1))


@contract("REG-10", "REG-18")
@pytest.mark.parametrize("at", [0, 4, 8], ids=["first", "middle", "last"])
def test_foreign_page_among_ones_own(
    mappings: Mappings, make_station: MakeStation, at: int
) -> None:
    """A page of another ifq, seen through another mapping, is EEXIST; its neighbours stay free."""
    theirs, ours = mappings(9)
    make_station(queue=UNUSED_QUEUE, region=Region(1, memory=theirs, first=at))
    station = make_station(register=False, region=Region(9, memory=ours))
    refused(station, errno.EEXIST, valid(station))
    begin, pages = (0, at) if at > 4 else (at + 1, 8 - at)
    station.ring.update_buffer(1, ours.addr + begin * PAGE, pages * PAGE)
    assert answer(station, valid(station, region_id=1)) == "", "pages around it were left marked"


@contract("REG-10", "REG-18")
def test_page_twice_in_the_region(idle: Station) -> None:
    """A region that has one page at two addresses is EEXIST, next to each other or far apart."""
    for first, second in ((0, 1), (0, 7), (6, 7)):
        with Memory(8 * PAGE) as memory:
            map_with_a_page_twice(memory, first, second)
            idle.ring.update_buffer(1, memory.addr, memory.size)
            refused(idle, errno.EEXIST, valid(idle, region_id=1))
            idle.ring.update_buffer(1, 0, 0)
    accepted(idle)


@contract("REG-11", "REG-18")
@pytest.mark.parametrize("pad", [(1, 0), (0, 1), (0, 0x8000)])
def test_padding(idle: Station, pad: tuple[int, int]) -> None:
    """Padding that is not zero is EINVAL."""
    req = valid(idle)
    req.pad[:] = pad
    refused(idle, errno.EINVAL, req)
    accepted(idle)


@contract("REG-12", "REG-18")
@pytest.mark.parametrize("kind", ["lo", "dummy", "tun"])
def test_device_without_zctap(idle: Station, kind: str) -> None:
    """A device whose driver has no XDP at all, or not this command, is EINVAL."""
    with other_device(idle.link.rx, kind) as ifindex:
        refused(idle, errno.EINVAL, valid(idle, ifindex=ifindex, queue_id=0))
    accepted(idle)


@contextlib.contextmanager
def other_device(end: End, kind: str) -> Iterator[int]:
    """The index of a device of that kind in the end's namespace."""
    if kind == "lo":
        yield 1
        return
    more = {"mode": "tap"} if kind == "tun" else {}
    with end.netlink() as ip:
        if kind == "tun" and not os.path.exists("/dev/net/tun"):
            pytest.skip("this kernel has no tun device (CONFIG_TUN)")
        try:
            ip.link("add", ifname="zother", kind="tuntap" if kind == "tun" else kind, **more)
        except NetlinkError as error:
            if error.code == errno.EOPNOTSUPP:
                pytest.skip(f"this kernel has no {kind} device")
            raise
        (ifindex,) = ip.link_lookup(ifname="zother")
        try:
            yield ifindex
        finally:
            ip.link("del", index=ifindex)


@contract("REG-13", "REG-18")
def test_queue_out_of_range(idle: Station) -> None:
    """A queue that the device does not have is EINVAL."""
    for queue_id in (2, 3, 0x8000, 0xFFFF):
        refused(idle, errno.EINVAL, valid(idle, queue_id=queue_id))
    accepted(idle)


@contract("REG-14", "REG-18")
def test_queue_of_another_ifq(station: Station, make_station: MakeStation) -> None:
    """A queue that is bound is EBUSY, until its ifq is closed; the one there works on."""
    second = make_station(register=False)
    refused(second, errno.EBUSY, valid(second))
    receives(station)
    station.close()
    accepted(second)
    receives(second)


@contract("REG-14", "REG-18")
def test_device_with_an_xdp_program(own_link: Link, make_station: MakeStation) -> None:
    """A device with an XDP program is EBUSY, until the program is detached."""
    station = make_station(own_link, register=False)
    with xdp.attached(own_link.rx):
        refused(station, errno.EBUSY, valid(station))
    accepted(station)
    receives(station)
