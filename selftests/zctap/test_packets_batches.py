# SPDX-License-Identifier: GPL-2.0
"""Frames that arrive together, which the device may join (GRO), or hand up one by one."""

from collections.abc import Iterator

import pytest

from fixtures.links import QUEUE, UNUSED_QUEUE
from fixtures.peers import Craft, CraftedFlow
from fixtures.stations import MakeStation, Station
from lib.deadline import wait_until
from lib.uring import PAGE
from netns import Link, Unsupported, ethtool
from netns.device import held_back
from netns.frames import Flag
from netns.mtu import LARGEST, mtu
from netns.peer import offload

contract = pytest.mark.contract
both_families = pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])
BATCH = 16
LONG, MSS = 40, 1400  # segments: two lists of as many as an skb has fragments, and some


@pytest.fixture(params=[False, True], ids=["no-gro", "gro"], autouse=True)
def batches(request: pytest.FixtureRequest, steered_link: Link) -> Iterator[None]:
    """Frames are held back for 3 ms, so that several arrive at once; with GRO and without."""
    try:
        with held_back(steered_link.tx, 3000):
            if request.param:
                ethtool.set_offload(steered_link.rx, "gro", True)
            yield
            ethtool.set_offload(steered_link.rx, "gro", False)
    except Unsupported as error:
        pytest.skip(str(error))


def send_batch(flow: CraftedFlow, size: int) -> None:
    """Send a batch of segments at once."""
    flow.peer.put(*[flow.peer.next(size) for _ in range(BATCH)])


@contract("DEV-1", "RECV-19", "RECV-21")
@both_families
def test_batches_land_in_the_region(station: Station, craft: Craft, family: int) -> None:
    """Segments that arrive together are all in the region."""
    flow = craft(station, family)
    for size in (1400, 700, 64):
        send_batch(flow, size)
        flow.peer.wait_queued(BATCH * size)
        flow.drain(BATCH * size)
    assert flow.tally.copied == 0, flow.tally


@contract("RECV-19", "BUF-2")
def test_streams_in_one_batch(station: Station, craft: Craft) -> None:
    """Segments of several streams that arrive together do not mix."""
    flows = [craft(station, 4), craft(station, 6), craft(station, 4)]
    for _ in range(BATCH):
        for number, flow in enumerate(flows):
            flow.peer.put(flow.peer.next(300 * (number + 1)))
    for number, flow in enumerate(flows):
        size = BATCH * 300 * (number + 1)
        flow.peer.wait_queued(size)
        flow.drain(size)


@contract("RECV-19", "BUF-2", "BUF-3")
def test_bad_segments_in_a_batch(station: Station, craft: Craft) -> None:
    """Of segments that arrive together the bad ones are dropped, and not joined to good ones."""
    flow = craft(station)
    peer, size = flow.peer, 1000
    for number in range(BATCH):
        at = peer.sent.offset
        bad = bytearray(peer.data(at, peer.garbage(at, size)))
        bad[-1 - number] ^= 0xFF
        peer.put(bad, peer.next(size), peer.data(at, peer.garbage(at, size)))
    peer.wait_queued(BATCH * size)
    flow.drain(BATCH * size)
    peer.probe()
    assert peer.queued() == 0


@pytest.fixture
def cut_up(steered_link: Link) -> Iterator[None]:
    """Packets of up to 64 KiB; what stands for several leaves as those, in one batch."""
    with mtu(steered_link, LARGEST):
        ethtool.set_tso(steered_link.tx, False)
        yield
        ethtool.set_tso(steered_link.tx, True)


@contract("FILL-5", "RECV-19")
@both_families
def test_long_batch_behind_a_missing_segment(
    prompt_frees: None, cut_up: None, make_station: MakeStation, craft: Craft, family: int
) -> None:
    """More pages than an skb has fragments (17) wait for a segment, which needs them, and gets in.

    Each of the batch's segments takes three pages of the region's 18, the missing one 16.
    """
    station = make_station(pages=18, copies=64)
    flow = craft(station, family, mss=1 << 15, rcvbuf=1 << 20)
    peer, count, size, missing = flow.peer, 6, 2 * PAGE + 1, 15 * PAGE + 1
    while peer.window < missing + count * size:
        assert peer.sent.offset < 4 << 20, f"the window stays at {peer.window} bytes"
        peer.put(peer.next(10 * PAGE))
        flow.drain(10 * PAGE)
        peer.wait_acked(peer.sent.offset)
    start = peer.sent.offset
    batch = peer.data(start + missing, count * size, summed=False)
    peer.put(batch, offload=offload(size, family=family))

    def missing_one_in() -> bool:
        peer.put(peer.data(start, missing))
        return peer.queued() >= missing

    wait_until(missing_one_in, lambda: f"it is kept out\n{station.debug().dump()}", 5)
    peer.sent.offset += missing + count * size
    peer.wait_queued(missing + count * size)
    flow.drain(missing + count * size)


@contract("RECV-18", "RECV-19", "RECV-21")
@pytest.mark.parametrize("queue", [QUEUE, UNUSED_QUEUE], ids=["zero-copy", "copied"])
def test_long_batch_in_small_calls(
    cut_up: None, make_station: MakeStation, craft: Craft, queue: int
) -> None:
    """A batch of more segments than an skb has fragments is read in calls that end anywhere."""
    flow = craft(make_station(queue=queue, copies=128), rcvbuf=1 << 20)
    for readlen in (MSS, 17 * MSS + 1, 999, PAGE + 1):
        flow.peer.put(flow.peer.next(LONG * MSS, summed=False), offload=offload(MSS))
        flow.peer.wait_queued(LONG * MSS)
        flow.receiver.give_back(flow.take(LONG * MSS, readlen))


@contract("RECV-25", "RECV-19")
@pytest.mark.parametrize("segment", [3, 20])
def test_urgent_byte_in_a_long_batch(
    cut_up: None, station: Station, craft: Craft, segment: int
) -> None:
    """An urgent byte anywhere in such a batch is passed over."""
    flow = craft(station, rcvbuf=1 << 20)
    peer, place, data = flow.peer, 100 + segment * MSS + 700, b""
    peer.put(peer.next(100, flags=Flag.ACK | Flag.URG, urgent=place))
    peer.put(peer.next(LONG * MSS, summed=False), offload=offload(MSS))
    peer.finish()
    while chunks := flow.receiver.receive():
        data += b"".join(chunk.data for chunk in chunks)
        flow.receiver.give_back(chunks)
    whole = peer.bytes_at(0, 100 + LONG * MSS)
    assert data == whole[: place - 1] + whole[place:], f"{len(data)} bytes of {len(whole) - 1}"
