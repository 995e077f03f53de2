# SPDX-License-Identifier: GPL-2.0
"""No memory for the header of a frame: it is dropped and counted as for want of a buffer.

Headers go to kernel memory (DEV-1), and no skb is made without its head, of which only the slab
cache skbuff_head_cache is made to fail here, and only for those who may not wait. Linux 6.1 lets
that be chosen at boot alone: slub_debug=A,skbuff_head_cache on the kernel's command line.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import pytest

from fixtures.peers import Craft, CraftedFlow
from fixtures.stations import MakeStation, Station
from lib.deadline import wait_until
from lib.faults import Faults, NoFaults
from lib.uring import PAGE
from netns import ethtool
from netns.peer import offload

contract = pytest.mark.contract
both_families = pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])
pytestmark = [pytest.mark.own_device, pytest.mark.usefixtures("prompt_frees")]

HEADS = "skbuff_head_cache"
PLENTY = 100_000  # more than are asked for
STOCK = 256  # frames: more than the device can have heads in stock
LARGE = 5 * PAGE


class NoHeads(Protocol):
    """No head of an skb is to be had inside, for those who may not wait."""

    def __call__(
        self, times: int = PLENTY, percent: int = 100
    ) -> AbstractContextManager[Callable[[], int]]:
        """Until `times` have failed; gives a function that tells how many have."""


@pytest.fixture
def no_heads(faults: Faults) -> NoHeads:
    """Makes heads fail; skips with the reason where the kernel cannot choose them."""

    @contextmanager
    def lack(times: int = PLENTY, percent: int = 100) -> Iterator[Callable[[], int]]:
        try:
            with faults.cache_failure(HEADS, times, percent) as failed:
                yield failed
        except NoFaults as error:
            pytest.skip(str(error))

    return lack


def put_next(flow: CraftedFlow, size: int) -> None:
    """Send the next bytes in one frame, whether or not it is taken."""
    peer, large = flow.peer, size > PAGE
    how = {"offload": offload(1400, family=peer.family)} if large else {}
    peer.put(peer.data(peer.sent.offset, size, summed=not large), **how)


def until_dropped(station: Station, flow: CraftedFlow, size: int) -> None:
    """Send frame after frame, and receive them, until one is dropped."""
    peer, dropped = flow.peer, ethtool.drops(station.link.rx)

    def known() -> bool:
        return peer.queued() == size or ethtool.drops(station.link.rx) > dropped

    for _ in range(STOCK):
        put_next(flow, size)
        wait_until(known, lambda: f"neither taken nor counted\n{station.debug().dump()}", 5)
        if not peer.queued():
            return
        peer.sent.offset += size
        flow.drain(size)
    raise AssertionError(
        f"{STOCK} frames came through without memory for a header, expected a drop (DEV-4)"
    )


def send_again(flow: CraftedFlow, size: int) -> None:
    """Send the same bytes as TCP would, again and again, until they are taken."""
    peer, queued = flow.peer, flow.peer.queued()

    def come() -> bool:
        put_next(flow, size)
        return peer.queued() == queued + size

    wait_until(come, lambda: f"not taken: {size} bytes from {peer.sent.offset} on", 5)
    peer.sent.offset += size


@contract("DEV-4", "FILL-5", "RECV-19", "BUF-3", "BUF-4")
@both_families
@pytest.mark.parametrize("size", [1000, LARGE], ids=["segment", "large"])
def test_frame_is_dropped_and_comes_again(
    no_heads: NoHeads, make_station: MakeStation, craft: Craft, family: int, size: int
) -> None:
    """It is dropped as a whole, is counted, keeps no page, and sent again it is taken."""
    station = make_station(pages=1024)
    flow, entry = craft(station, family), station.debug()
    for _ in range(2):
        with no_heads() as failed:
            until_dropped(station, flow, size)
            hits = failed()
        assert hits, "a frame was dropped, but no head has failed"
        accounting = entry.accounting()
        assert accounting.conserved, f"pages are not conserved (BUF-4): {accounting}"
        station.at_rest()
        flow.peer.collect()
        acked, sent = flow.peer.acked, flow.peer.sent.offset
        assert acked <= sent, f"{acked} bytes are acknowledged, {sent} were taken"
        send_again(flow, size)
        flow.drain(size)
        flow.peer.wait_acked(flow.peer.sent.offset)
    assert flow.tally.copied == 0, f"through the region only, expected: {flow.tally}"


@contract("DEV-4", "BUF-3", "BUF-4")
@pytest.mark.parametrize("size", [1000, LARGE], ids=["segment", "large"])
def test_dropped_frames_use_up_no_buffers(
    no_heads: NoHeads, make_station: MakeStation, craft: Craft, size: int
) -> None:
    """With far more frames dropped for their headers than the region has pages, it has them all."""
    station = make_station(pages=16)
    flow, count = craft(station), 10 * station.region.pages
    with no_heads() as failed:
        until_dropped(station, flow, size)
        before = ethtool.drops(station.link.rx)

        def dropped() -> int:
            return ethtool.drops(station.link.rx) - before

        def enough() -> bool:
            put_next(flow, size)
            return dropped() >= count

        wait_until(enough, lambda: f"{dropped()} of {count} frames dropped", 5, interval=0.001)
        assert failed() > 0, "frames were dropped, but no head has failed"
        assert not flow.peer.queued(), f"{flow.peer.queued()} bytes arrived all the same"
    station.at_rest()
    for _ in range(4):
        send_again(flow, size)
        flow.drain(size)
    assert flow.tally.copied == 0, f"through the region only, expected: {flow.tally}"


@contract("FILL-5", "DEV-4", "RECV-19", "BUF-4")
@both_families
def test_stream_goes_on(no_heads: NoHeads, station: Station, family: int) -> None:
    """With one head of ten missing for a while, the whole stream arrives, each byte once."""
    flow, entry = station.flow(family), station.debug()
    before, hits = ethtool.drops(station.link.rx), 0
    for _ in range(60):
        with no_heads(4, percent=10) as failed:
            flow.transfer(30_000)
            hits += failed()
        accounting = entry.accounting()
        assert accounting.conserved, f"pages are not conserved (BUF-4): {accounting}"
        if ethtool.drops(station.link.rx) >= before + 4:
            break
    drops = ethtool.drops(station.link.rx) - before
    assert drops >= 4, f"{hits} heads failed, and the device counts {drops} drops, expected 4"
    # Behind a hole the kernel may copy what waits: only now nothing is missing.
    zero_copy = flow.tally.zero_copy
    flow.transfer(30_000)
    last = flow.tally.zero_copy - zero_copy
    assert last > 15_000, f"{last} of the last 30000 bytes in the region: {flow.tally}"
    station.at_rest()
