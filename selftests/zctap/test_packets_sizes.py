# SPDX-License-Identifier: GPL-2.0
"""Payload of every size a frame can have, in frames laid out in every way, in the region."""

from collections.abc import Iterator

import pytest

from fixtures.links import UNUSED_QUEUE
from fixtures.peers import Craft, CraftedFlow
from fixtures.stations import MakeStation, Station
from lib.uring import PAGE
from netns import Link
from netns.frames import ETH_HEADER, IP_HEADER, TCP_HEADER
from netns.mtu import LARGEST, mtu
from netns.peer import offload

contract = pytest.mark.contract
both_families = pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])
SIZES = (1, 2, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1023, 1024)
PAGES = (1, 2, 3, 15)


@pytest.fixture
def jumbo(steered_link: Link) -> Iterator[None]:
    """The shared link with the largest MTU there is. Name it before what is on the link."""
    with mtu(steered_link, LARGEST):
        yield


def headers(family: int) -> int:
    """Length of the headers in front of the payload."""
    return ETH_HEADER + IP_HEADER[family] + TCP_HEADER


def in_region(flow: CraftedFlow, size: int) -> list[int]:
    """Receive a segment, all of it in the region: how long each piece is."""
    flow.peer.wait_queued(size)
    before = flow.tally.copied
    chunks = flow.take(size)
    assert flow.tally.copied == before, f"segment of {size} bytes"
    flow.receiver.give_back(chunks)
    return [len(chunk.data) for chunk in chunks]


@contract("DEV-1", "RECV-19")
@both_families
def test_small_sizes(station: Station, craft: Craft, family: int) -> None:
    """A segment of any size up to 1500 bytes of MTU lands in the region."""
    flow, largest = craft(station, family), 1500 - IP_HEADER[family] - TCP_HEADER
    for size in (*SIZES, largest - 1, largest):
        flow.peer.put(flow.peer.next(size))
        in_region(flow, size)


@contract("DEV-1", "RECV-19", "BUF-2")
@both_families
def test_sizes_around_pages(jumbo: None, station: Station, craft: Craft, family: int) -> None:
    """A frame of a byte less, just and a byte more than some pages of payload, up to 64 KiB."""
    flow = craft(station, family, mss=1 << 15, rcvbuf=1 << 20)
    largest = LARGEST - IP_HEADER[family] - TCP_HEADER
    around = [pages * PAGE + more for pages in PAGES for more in (-1, 0, 1)]
    for size in (*around, largest):
        flow.peer.put(flow.peer.next(size))
        in_region(flow, size)


@contract("DEV-1", "RECV-19")
def test_headers_that_fill_a_page(jumbo: None, station: Station, craft: Craft) -> None:
    """Frames, not payload, of a byte less, just and a byte more than some pages."""
    flow = craft(station, mss=1 << 15, rcvbuf=1 << 20)
    for pages in PAGES:
        for more in (-1, 0, 1):
            size = pages * PAGE + more - headers(4)
            flow.peer.put(flow.peer.next(size))
            in_region(flow, size)


@contract("DEV-1", "RECV-19", "BUF-2")
@both_families
def test_pages_of_padding(jumbo: None, station: Station, craft: Craft, family: int) -> None:
    """Of a frame with pages of bytes behind its packet none of those is delivered or kept."""
    flow = craft(station, family)
    for size in (1, 1000, PAGE, PAGE + 1):
        flow.peer.put(flow.peer.next(size) + b"\x5a" * (3 * PAGE - 7))
        in_region(flow, size)
        station.at_rest()


# -- what the device finishes: checksums and segmentation --------------------------------------


@contract("DEV-1", "RECV-19")
@both_families
def test_checksum_left_to_the_device(station: Station, craft: Craft, family: int) -> None:
    """A segment whose checksum its sender has left to the device lands in the region."""
    flow = craft(station, family)
    for size in (1, 1000, 1400):
        frame = flow.peer.next(size, summed=False)
        flow.peer.put(frame, offload=offload(family=family))
        in_region(flow, size)


@contract("DEV-1", "RECV-19", "BUF-2")
@both_families
@pytest.mark.parametrize("linear", [0, 100, PAGE, 20_000], ids=lambda size: f"linear-{size}")
def test_frames_of_many_segments(station: Station, craft: Craft, family: int, linear: int) -> None:
    """A frame of up to 64 KiB that stands for many segments lands in the region.

    linear: so much of it lies in one piece, the rest in fragments.
    """
    flow = craft(station, family, rcvbuf=1 << 20)
    for size in (1401, 2 * 1400, 3 * PAGE + 1, 30_000, 65_535 - headers(family)):
        frame = flow.peer.next(size, summed=False)
        how = offload(1400, family=family, linear=min(linear, len(frame)))
        flow.peer.put(frame, offload=how)
        chunks = in_region(flow, size)
        assert max(chunks) > 1400, "the sending end has cut the frame up"


@contract("DEV-1", "RECV-19", "BUF-2")
def test_part_of_a_large_frame_is_old(station: Station, craft: Craft) -> None:
    """Of a frame of many pages that has been received in part, the rest is taken."""
    flow = craft(station, rcvbuf=1 << 20)
    peer, read = flow.peer, 0
    for known in (1, PAGE - 1, PAGE, PAGE + 1, 5 * PAGE + 17, 9 * PAGE):
        start, size = peer.sent.offset, 10 * PAGE
        peer.sent.offset += size
        for at in range(0, known, 1400):
            peer.put(peer.data(start + at, min(1400, known - at)))
        frame = peer.data(
            start,
            peer.garbage(start, known) + peer.bytes_at(start + known, size - known),
            summed=False,
        )
        peer.put(frame, offload=offload(1400))
        peer.wait_queued(size)
        flow.drain(size)
        read += size
    assert flow.tally.total == read
    assert flow.tally.copied == 0


@contract("RECV-18", "RECV-19", "BUF-2")
def test_large_frame_in_small_calls(station: Station, craft: Craft) -> None:
    """A frame of many pages is read in calls that end anywhere in them."""
    flow, size = craft(station, rcvbuf=1 << 20), 10 * PAGE
    for readlen in (PAGE - 1, PAGE, PAGE + 1, 5000):
        frame = flow.peer.next(size, summed=False)
        flow.peer.put(frame, offload=offload(1400))
        flow.peer.wait_queued(size)
        chunks = flow.take(size, readlen)
        assert all(chunk.zero_copy for chunk in chunks)
        flow.receiver.give_back(chunks)


@contract("RECV-18", "RECV-19", "RECV-21")
@both_families
@pytest.mark.parametrize("linear", [100, PAGE, 20_000], ids=lambda size: f"linear-{size}")
def test_linear_part_in_small_calls(
    make_station: MakeStation, craft: Craft, family: int, linear: int
) -> None:
    """Of a frame on another queue any part is copied, in one piece or in fragments.

    linear: so much of it lies in one piece; the calls end anywhere in that and behind it.
    """
    station = make_station(queue=UNUSED_QUEUE, copies=128)
    flow, size = craft(station, family, rcvbuf=1 << 20), 6 * PAGE
    for readlen in (999, PAGE + 1, 5000):
        frame = flow.peer.next(size, summed=False)
        flow.peer.put(frame, offload=offload(1400, family=family, linear=linear))
        flow.peer.wait_queued(size)
        chunks = flow.take(size, readlen)
        assert not any(chunk.zero_copy for chunk in chunks)
        flow.receiver.give_back(chunks)
