# SPDX-License-Identifier: GPL-2.0
"""Regions on memory of every kind: payload lands in it, at the places that are reported."""

import errno
import mmap

import pytest

from fixtures.exhausted import MakeExhausted
from fixtures.links import UNUSED_QUEUE
from fixtures.regions import HUGE, Mappings, meminfo
from fixtures.registration import accepted, refused, valid
from fixtures.stations import MakeStation, Station
from lib.deadline import wait_until
from lib.uring import PAGE, Memory
from lib.zerocopy import Chunk, Region

contract = pytest.mark.contract
# Regions are small here, and must not run dry for pages that are parked on an idle CPU.
pytestmark = [pytest.mark.zero_copy, pytest.mark.usefixtures("pins_return", "prompt_frees")]

SMALL = HUGE // PAGE  # small pages in a huge one


def fills(station: Station, rounds: int = 2) -> None:
    """Payload lies in most of the region's pages, and goes through it `rounds` times over."""
    flow, region, held = station.flow(), station.region, list[Chunk]()
    piece = PAGE * max(1, region.pages // 32)
    # Pages that the user has are not used again: a reader who keeps up might see but a few.
    while len(flow.tally.pages) <= region.pages // 2:
        flow.tcp.send(piece)
        held += flow.take(piece)
        assert flow.tally.total < 2 * region.size, f"copied, or in the same pages: {flow.tally}"
    flow.receiver.give_back(held)
    flow.transfer(rounds * region.size)
    assert flow.tally.zero_copy > (rounds - 1) * region.size, f"copied: {flow.tally}"


@contract("REG-24", "RECV-19", "BUF-3")
@pytest.mark.parametrize("pages", [2, 7, 63, 64, 65, 257])
def test_region_of_so_many_pages(make_station: MakeStation, pages: int) -> None:
    """Any number of pages works, around what the device likes to post as well."""
    station = make_station(pages=pages)
    flow = station.flow(rcvbuf=8192 if pages < 63 else 128 << 10)
    flow.transfer(3 * station.region.size)
    assert flow.tally.zero_copy > station.region.size, f"copied: {flow.tally}"
    assert flow.tally.pages <= set(range(pages))


@contract("BUF-1", "BUF-3", "RECV-19")
def test_each_page_is_a_buffer(make_exhausted: MakeExhausted) -> None:
    """Of more than 256 pages each is used once, under a number of its own, while all are held."""
    exhausted = make_exhausted(257)
    assert sorted(exhausted.held) == list(range(257))


@contract("RECV-19", "BUF-1")
@pytest.mark.parametrize(
    "flags",
    [mmap.MAP_PRIVATE, mmap.MAP_SHARED, mmap.MAP_PRIVATE | mmap.MAP_POPULATE],
    ids=["private", "shared", "populated"],
)
def test_anonymous_memory(make_station: MakeStation, flags: int) -> None:
    """Anonymous memory, private and shared, touched before and not."""
    with Region(64, flags) as region:
        station = make_station(region=region)
        fills(station)
        station.close()


@contract("RECV-19", "BUF-1")
def test_file_in_memory(mappings: Mappings, make_station: MakeStation) -> None:
    """On a memfd, payload lies in the file: another mapping of it shows the same bytes."""
    ours, theirs = mappings(64)
    station = make_station(region=Region(64, memory=ours))
    flow = station.flow()
    flow.tcp.send(20_000)
    chunks = flow.take(20_000)
    assert flow.tally.zero_copy
    mirror = Region(64, memory=theirs)
    for chunk in chunks:
        if chunk.zero_copy:
            assert mirror.piece(chunk.bid, chunk.offset, len(chunk.data)) == chunk.data
    flow.receiver.give_back(chunks)
    fills(station)


@contract("RECV-19", "BUF-1", "FILL-1")
def test_part_of_a_larger_mapping(make_station: MakeStation) -> None:
    """A region inside a larger mapping begins with page 0, and its neighbours are not touched."""
    with Memory(80 * PAGE) as memory:
        for page in (*range(8), *range(72, 80)):
            memory.view[page * PAGE : (page + 1) * PAGE] = bytes([page + 1]) * PAGE
        station = make_station(region=Region(64, memory=memory, first=8))
        fills(station, 3)
        for page in (*range(8), *range(72, 80)):
            found = bytes(memory.view[page * PAGE : (page + 1) * PAGE])
            assert found == bytes([page + 1]) * PAGE, f"page {page - 8} of the region was written"
        station.close()


@contract("RECV-19", "BUF-1")
def test_region_that_became_read_only(make_station: MakeStation) -> None:
    """What the mapping allows now does not matter: the pages are the buffer's, pinned before."""
    with Memory(64 * PAGE) as memory:
        station = make_station(region=Region(64, memory=memory), register=False)
        memory.protect(mmap.PROT_READ)
        accepted(station)
        fills(station)
        station.close()
        memory.protect(mmap.PROT_READ | mmap.PROT_WRITE)


# -- huge pages ----------------------------------------------------------------------------


@contract("REG-22", "RECV-19", "BUF-1")
@pytest.mark.parametrize(
    ("first", "pages"),
    [(0, SMALL), (1, 64), (SMALL - 64, 64), (SMALL - 5, 64)],
    ids=["all", "from 1", "end", "across"],
)
def test_hugetlb(hugetlb: Memory, make_station: MakeStation, first: int, pages: int) -> None:
    """A hugetlb page, or a part of one or two, is a region; hugetlb gets them back in good order.

    What it knows of a page it keeps in struct page, of its first small one above all.
    """
    reserved, free = meminfo("HugePages_Rsvd"), meminfo("HugePages_Free")
    station = make_station(region=Region(pages, memory=hugetlb, first=first))
    fills(station)
    station.close()
    assert (meminfo("HugePages_Rsvd"), meminfo("HugePages_Free")) == (reserved, free)
    assert hugetlb.close(), "someone still looks at the memory"
    wait_until(  # the ring unpins its fixed buffer on a worker
        lambda: meminfo("HugePages_Free") == free + 2, "hugetlb did not get its pages back", 2
    )
    assert meminfo("HugePages_Rsvd") == reserved, "a page that came back is thought reserved"


@contract("REG-22", "RECV-19")
@pytest.mark.parametrize(
    ("first", "pages"),
    [(0, SMALL), (3, 64), (SMALL - 32, 64)],
    ids=["all", "inside", "across its end"],
)
def test_transparent_huge_page(
    transparent: tuple[Memory, int], make_station: MakeStation, first: int, pages: int
) -> None:
    """So is a transparent huge page, a part of it, and small pages that follow it."""
    memory, begin = transparent
    station = make_station(region=Region(pages, memory=memory, first=begin + first))
    fills(station)
    station.close()


@contract("REG-22", "BUF-5", "RECV-19")
def test_huge_page_is_split_under_the_region(
    transparent: tuple[Memory, int], make_station: MakeStation
) -> None:
    """Half of a transparent huge page is given up while the other half is a region."""
    memory, begin = transparent
    station = make_station(region=Region(64, memory=memory, first=begin))
    memory.advise(mmap.MADV_DONTNEED, at=(begin + 64) * PAGE, size=HUGE - 64 * PAGE)
    fills(station)
    station.close()


# -- several regions -----------------------------------------------------------------------


@contract("REG-10", "REG-22")
def test_two_regions_on_one_huge_page(
    transparent: tuple[Memory, int], make_station: MakeStation
) -> None:
    """Two rings share a huge page, small page by small page; a shared one is EEXIST."""
    memory, begin = transparent
    one = make_station(region=Region(64, memory=memory, first=begin))
    other = make_station(
        region=Region(64, memory=memory, first=begin + 64), queue=UNUSED_QUEUE, register=False
    )
    other.ring.update_buffer(1, other.region.addr - PAGE, 65 * PAGE)
    refused(other, errno.EEXIST, valid(other, region_id=1))
    accepted(other)
    fills(one)
    other.close()
    one.close()
