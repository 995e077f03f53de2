# SPDX-License-Identifier: GPL-2.0
"""No page is lost or counted twice at any moment of a load, and each stream comes whole."""

import random

import pytest

from fixtures.mixing import KeepOut
from fixtures.sampling import Watch
from fixtures.stations import Flow, MakeStation, Station
from lib.deadline import wait_until
from lib.zctap import Sample
from lib.zerocopy import Chunk

contract = pytest.mark.contract
pytestmark = [pytest.mark.zero_copy, pytest.mark.usefixtures("prompt_frees")]
PAGES, TOTAL = 64, 1 << 20


def books_balance(station: Station, flows: list[Flow], samples: list[Sample]) -> None:
    """The counters are what all receivers together have seen; some samples saw pages in use."""
    counters = station.debug().counters()
    pieces = sum(flow.tally.pieces for flow in flows)
    assert counters.zc_bytes == sum(flow.tally.zero_copy for flow in flows)
    assert counters.copy_bytes == sum(flow.tally.copied for flow in flows)
    assert counters.zc_iovs + counters.copy_iovs == pieces
    busy = [sample for sample in samples if sample.accounting.skb or sample.accounting.user]
    assert busy, f"{len(samples)} samples, all of an idle region"


@contract("BUF-4", "DBG-3", "DBG-5", "BUF-2")
@pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])
def test_stream(make_station: MakeStation, watch: Watch, family: int) -> None:
    """A receiver that keeps up, and turns the region over many times."""
    station = make_station(pages=PAGES)
    flow, sampler = station.flow(family, rcvbuf=64 << 10), watch(station)
    flow.transfer(2 * TOTAL)
    books_balance(station, [flow], sampler.stop())


@contract("BUF-4", "BUF-2", "BUF-3", "DBG-3", "RECV-19")
def test_moody_user(make_station: MakeStation, watch: Watch, rng: random.Random) -> None:
    """A receiver that takes odd sizes, keeps some, returns in any order, and uses recv(2), too."""
    station = make_station(pages=PAGES)
    flow, sampler = station.flow(rcvbuf=64 << 10), watch(station)
    held: list[tuple[int, Chunk]] = []  # with its place in the stream
    left = TOTAL - flow.tcp.feed(TOTAL)
    while (offset := flow.tcp.check.offset) < TOTAL:
        if rng.random() < 0.15:
            flow.tcp.read(rng.randrange(1, max(2, min(5000, flow.tcp.queued()))))
        else:
            for chunk in flow.accept(flow.receiver.receive(rng.choice([3, 900, 4096, 30_000]))):
                held.append((offset, chunk))
                offset += len(chunk.data)
        left -= flow.tcp.feed(left)
        rng.shuffle(held)
        keep = rng.randrange(20)
        for place, chunk in held[keep:]:
            flow.tcp.check.pattern.check(place, chunk.data)
        flow.receiver.give_back([chunk for _, chunk in held[keep:]])
        del held[keep:]
    flow.receiver.give_back([chunk for _, chunk in held])
    books_balance(station, [flow], sampler.stop())


@contract("BUF-4", "BUF-3", "DBG-3")
def test_sockets_closed_unread(make_station: MakeStation, watch: Watch, rng: random.Random) -> None:
    """Connections that come, are read to some point, and are closed with the rest unread."""
    station = make_station()  # what lies unread in three sockets is less than its 256 pages
    sampler, flows = watch(station), []
    for number in range(12):
        flow = station.flow(rng.choice([4, 6]), rcvbuf=rng.choice([16, 64]) << 10)
        flows.append(flow)
        sent = flow.tcp.feed(rng.randrange(1, 200_000))
        flow.drain(rng.randrange(1, min(sent, 8000) + 1))
        if rng.random() < 0.7:
            flows[rng.randrange(number + 1)].tcp.close()
        if len([flow for flow in flows if flow.tcp.rx.fileno() >= 0]) > 2:
            for flow in flows:
                flow.tcp.close()
    for flow in flows:
        flow.tcp.close()
    books_balance(station, flows, sampler.stop())


@contract("BUF-4", "FILL-3", "FILL-5", "DBG-3", "DBG-5")
def test_garbage_in_the_fill_ring(
    make_station: MakeStation, watch: Watch, rng: random.Random
) -> None:
    """Bad entries of all kinds between the good ones: each is counted once, the stream goes on."""
    station = make_station(pages=32, fill_entries=1 << 12)
    fill, region = station.fill, station.region
    assert fill is not None
    flow, sampler, bad = station.flow(rcvbuf=32 << 10), watch(station), 0
    kinds = [0, region.addr - 1, region.addr + region.size, 1 << 63, (1 << 64) - 1]
    left = TOTAL - flow.tcp.feed(TOTAL)
    while flow.tally.total < TOTAL:
        for chunk in flow.accept(flow.receiver.receive()):
            for _ in range(rng.randrange(8)):
                fill.add(rng.choice(kinds), rng.getrandbits(32), rng.getrandbits(16))
                bad += 1
            flow.receiver.give_back([chunk])
        left -= flow.tcp.feed(left)
    counters = station.debug().counters()
    assert bad - 32 * 3 * 8 <= counters.fill_invalid <= bad
    assert counters.fill_not_owned == 0
    books_balance(station, [flow], sampler.stop())


@contract("BUF-4", "RECV-21", "DBG-3", "DBG-5", "DEV-5")
def test_mixed_stream(system_every: KeepOut, make_station: MakeStation, watch: Watch) -> None:
    """A stream of region and system pages: both kinds come, in order, and are counted apart."""
    system_every(3)
    station = make_station(pages=PAGES)
    flow, sampler = station.flow(), watch(station)
    for _ in range(30):
        flow.transfer(12_000)
    assert flow.tally.zero_copy
    assert flow.tally.copied
    books_balance(station, [flow], sampler.stop())


@contract("BUF-4", "REL-6", "DBG-3")
def test_closing_with_data_everywhere(make_station: MakeStation, watch: Watch) -> None:
    """While the ifq closes and drains each page is counted once; the device's come back."""
    station = make_station(pages=PAGES)
    flow, sampler, entry = station.flow(), watch(station), station.debug()
    flow.tcp.send(60_000)
    flow.tcp.wait_queued(60_000)
    held = flow.take(20_000)
    assert any(chunk.zero_copy for chunk in held)
    station.close_ring()
    wait_until(lambda: entry.state().state == "draining", entry.dump)
    wait_until(lambda: entry.accounting().driver == 0, entry.dump)
    assert entry.accounting().skb > 0
    flow.tcp.read(40_000)
    station.gone()
    samples = sampler.stop()
    assert sampler.gone
    assert any(sample.accounting.driver for sample in samples)
