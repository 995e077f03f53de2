# SPDX-License-Identifier: GPL-2.0
"""What the device has: posted buffers and DMA mappings, as long as it is bound and no longer."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.parking import PARKED
from fixtures.registration import receives
from fixtures.removal import Removal, dead, deletion, deletion_of_peer, move, removed
from fixtures.stations import MakeStation, Station
from lib.dma import mapped
from lib.uring import PAGE
from lib.zctap import Zctap
from netns import Link

contract = pytest.mark.contract
pytestmark = pytest.mark.zero_copy
MOST = 256  # buffers posted, says DEV-3
_DUMP = Path("/sys/kernel/debug/dma-api/dump")  # a line a mapping, kernel/dma/debug.c
_MAPPING = re.compile(r"^veth_zctap .* P=(\w+) .* L=(\w+) (DMA_\w+)", re.MULTILINE)


@pytest.fixture
def mappings(zctap: Zctap) -> Callable[[], int]:
    """How many DMA mappings have come on top since the test began; skips where nobody counts."""
    before = mapped()
    if before is None:
        pytest.skip("DMA mappings are not counted: CONFIG_DMA_API_DEBUG, or debugfs")
    return lambda: (mapped() or 0) - before


def parked(station: Station) -> None:
    """Leave data in a socket of the station's."""
    flow = station.flow()
    flow.tcp.send(PARKED)
    flow.tcp.wait_queued(PARKED)


@contract("DEV-3", "BUF-2", "BUF-4")
def test_a_few_buffers_are_posted(make_station: MakeStation) -> None:
    """The device has some buffers, each once, and far from all, idle or busy."""
    station = make_station(pages=1024)
    entry, flow = station.debug(), station.flow()
    for _ in range(10):
        driver, refs = entry.accounting().driver, entry.refs()
        assert 0 < driver <= MOST, f"the device has {driver} of 1024 buffers, expected 1 to {MOST}"
        assert all(line.driver <= 1 for line in refs), "a buffer is posted twice"
        flow.transfer(20_000)


@contract("DEV-6", "DEV-1")
@pytest.mark.own_device
@pytest.mark.usefixtures("mappings")
def test_whole_pages_are_mapped(station: Station) -> None:
    """Each page of the region is mapped once, from end to end, for the device to write to."""
    if not _DUMP.exists():
        pytest.skip(f"this kernel has no {_DUMP}")
    lines = _MAPPING.findall(_DUMP.read_text())
    found = [(int(at, 16), int(size, 16), way) for at, size, way in lines]
    wrong = [one for one in found if one[0] % PAGE or one[1:] != (PAGE, "DMA_FROM_DEVICE")]
    assert not wrong, f"(address, size, direction) of what is no page: {wrong[:5]}"
    assert len({at for at, _, _ in found}) == len(found) >= station.region.pages


@contract("DEV-3", "REG-24", "BUF-4")
@pytest.mark.parametrize("pages", [1, 5])
def test_no_more_posted_than_there_are(make_station: MakeStation, pages: int) -> None:
    """Of a small region each buffer is posted once at most, and comes back on the close."""
    station = make_station(pages=pages)
    entry = station.debug()
    accounting, refs = entry.accounting(), entry.refs()
    assert accounting.conserved
    assert 0 < accounting.driver <= pages, accounting
    assert all(line.driver == 1 for line in refs), refs
    assert len(refs) == accounting.driver


@contract("DEV-3", "REL-6", "DEV-2")
def test_closed_queue_has_none_and_takes_none(station: Station, explicit: None) -> None:
    """On the close all posted buffers come back, and later frames take system pages."""
    parked(station)
    flow = station.flow()
    flow.transfer(5000)
    assert flow.tally.zero_copy
    entry, before = station.debug(), flow.tally.zero_copy
    assert station.ifq is not None
    station.ifq.close()
    assert entry.accounting().driver == 0, entry.dump()
    counters = entry.counters()
    flow.transfer(50_000)
    assert flow.tally.zero_copy == before, f"zero-copy through a closed queue: {flow.tally}"
    later, accounting = entry.counters(), entry.accounting()
    taken = later.from_freelist + later.from_fill - counters.from_freelist - counters.from_fill
    assert taken == 0, f"the device took {taken} buffers after the close"
    assert accounting.driver == 0
    assert accounting.conserved


@contract("DEV-6", "REL-3", "REL-7")
def test_mappings_last_as_long_as_the_region(
    mappings: Callable[[], int], station: Station, explicit: None
) -> None:
    """A bound region is mapped for the device; released, it no longer is."""
    assert mappings() > 0
    parked(station)
    assert station.ifq is not None
    station.ifq.close()
    station.connections[0].read(PARKED)
    station.gone()
    assert mappings() <= 0, f"{mappings()} mappings of a region that was released"


@contract("DEV-6", "REL-3")
@pytest.mark.parametrize(
    ("removal", "draining"),
    [(deletion, False), (deletion_of_peer, True), (move, False)],
    ids=["deletion", "deletion_of_peer-draining", "move"],
)
def test_mappings_end_with_the_device(
    mappings: Callable[[], int],
    own_link: Link,
    make_station: MakeStation,
    explicit: None,
    removal: Removal,
    draining: bool,
) -> None:
    """The device's end unmaps the region there and then, with data in it, bound or draining."""
    station = make_station(own_link)
    assert mappings() > 0
    parked(station)
    if draining:
        assert station.ifq is not None
        station.ifq.close()
    removed(own_link, removal)
    assert mappings() <= 0, f"{mappings()} mappings of a device that is gone"
    if not draining:
        dead(station)
    station.connections[0].read(PARKED)


@contract("DEV-6", "REG-18", "REG-20")
def test_mappings_over_and_over(
    mappings: Callable[[], int], station: Station, explicit: None
) -> None:
    """Registrations, one after the other, map as much each time, and leave nothing."""
    bound = mappings()
    for _ in range(3):
        assert station.ifq is not None
        station.ifq.close()
        station.gone()
        station.register()
        assert mappings() == bound
    receives(station)
