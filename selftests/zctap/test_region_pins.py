# SPDX-License-Identifier: GPL-2.0
"""Which pages are pinned, counted by the whole system's counters: needs no debugfs."""

import errno

import pytest

from fixtures.links import UNUSED_QUEUE
from fixtures.patience import LongDrain
from fixtures.registration import answer, parting, receives, refused, taken_over, valid
from fixtures.stations import MakeStation, Station
from lib.deadline import wait_until
from lib.procfs import pinned_pages
from lib.zctap import IfqReq
from lib.zerocopy import Region

contract = pytest.mark.contract
pytestmark = pytest.mark.zero_copy

PAGES = 64
LENGTH = 30_000  # bytes: what an unread socket takes without any tuning


class Pins:
    """Pages that are pinned in the whole system, but for those of the drain beside the tests."""

    def __init__(self, others: int) -> None:
        self._others = others

    def now(self) -> int:
        """So many."""
        return (pinned_pages() or 0) - self._others

    def settle(self, at: int = 0) -> None:
        """So many in the end, and no less."""
        wait_until(lambda: self.now() <= at, lambda: f"{self.now()} pinned, expected {at}", 2)
        assert self.now() == at, f"{self.now()} pages are pinned, expected {at}"


@pytest.fixture
def pins(drain_beside: LongDrain | None) -> Pins:
    """None are pinned now; skips where pages cannot be counted, or somebody else pins some."""
    if pinned_pages() is None:
        pytest.skip("/proc/vmstat does not count pinned pages for us (root, Linux 5.7)")
    found = Pins(drain_beside.station.region.pages if drain_beside else 0)
    try:  # rings of earlier tests may still be on their way out
        wait_until(lambda: found.now() == 0, "others", 2)
    except TimeoutError:
        pytest.skip(f"{found.now()} pages are pinned by others")
    return found


@contract("BUF-5", "REG-20", "REL-7")
def test_region_has_a_pin_of_its_own(pins: Pins, make_station: MakeStation, explicit: None) -> None:
    """Registering pins each page once more, whatever the buffer does; unregistering undoes it."""
    station = make_station(pages=PAGES, register=False)
    rest = pins.now() - PAGES  # the buffer's and the rings'
    station.register()
    assert pins.now() == rest + 2 * PAGES
    station.ring.unregister_buffers()
    pins.settle(rest + PAGES)
    receives(station)
    pins.settle(rest + PAGES)
    assert parting(station, IfqReq()) == ""
    pins.settle(rest)


@contract("REG-18")
def test_refused_registrations_pin_nothing(
    pins: Pins, station: Station, make_station: MakeStation
) -> None:
    """Refused for its queue, its region and its ring, a registration leaves the count alone."""
    second = make_station(pages=PAGES, register=False, queue=UNUSED_QUEUE)
    second.ring.update_buffer(1, second.region.addr + 512, 4096)
    second.ring.update_buffer(2, station.region.page_addr(3), 8192)
    before = pins.now()
    for _ in range(3):
        refused(second, errno.EINVAL, valid(second, queue_id=99))
        refused(second, errno.EBUSY, valid(second, queue_id=station.queue))
        refused(second, errno.EFAULT, valid(second, region_id=1))
        refused(second, errno.EEXIST, valid(second, region_id=2))
        refused(station, errno.EBUSY, valid(station, queue_id=UNUSED_QUEUE))
    assert pins.now() == before


@contract("REL-7", "REL-5", "REL-10", "REL-9")
def test_pages_are_pinned_until_the_data_is_read(pins: Pins, make_station: MakeStation) -> None:
    """Ring closed and data unread: the region is pinned and taken; read, it is neither."""
    with Region(PAGES) as region:
        station = make_station(region=region)
        flow = station.flow()
        flow.tcp.send(LENGTH)
        flow.tcp.wait_queued(LENGTH)
        station.close_ring()
        pins.settle(PAGES)
        successor = make_station(region=region, register=False)
        assert answer(successor, valid(successor)) == "EEXIST"
        flow.tcp.read(LENGTH)
        taken_over(successor, 0.2)
        successor.close()
        pins.settle()


@contract("REL-8", "REL-1")
def test_what_the_user_holds_pins_nothing(
    pins: Pins, make_station: MakeStation, explicit: None
) -> None:
    """With pages not given back the region is released as an idle one."""
    with Region(PAGES) as region:
        station = make_station(region=region)
        flow = station.flow()
        flow.tcp.send(LENGTH)
        assert any(chunk.zero_copy for chunk in flow.take(LENGTH))
        assert parting(station, IfqReq()) == ""
        taken_over(station, 0.2)
        station.close()
        pins.settle()


@contract("REG-19", "REL-7")
def test_many_rings_leave_nothing(pins: Pins, make_station: MakeStation) -> None:
    """Ten rings that registered, received and went: not one page stays pinned."""
    for _ in range(10):
        station = make_station(pages=PAGES)
        receives(station, 5000)
        station.close()
    pins.settle()
