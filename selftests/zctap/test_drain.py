# SPDX-License-Identifier: GPL-2.0
"""The fast receive loop of lib/, which takes completions by the batch, against the contract."""

import random

import pytest

from fixtures.mixing import KeepOut
from fixtures.multishot import DEFERRED
from fixtures.stations import META, Flow, MakeStation, Station
from lib.uring import BufferPool
from lib.zctap import Drain
from lib.zctap.drain import IOVS

contract = pytest.mark.contract


def drain_of(station: Station, flows: list[Flow], metas: int = 16, readlen: int = 1 << 16) -> Drain:
    """A drain for the flows, which sees to it that every byte is the next of its stream."""
    assert station.fill
    return Drain(
        station.ring,
        station.zctap,
        [flow.tcp.rx for flow in flows],
        region=station.region,
        fill=station.fill,
        copy=station.copy,
        meta=BufferPool(station.ring, META, metas, IOVS * 16),
        readlen=readlen,
        sink=lambda number, data, _zero_copy: flows[number].tcp.check.check(data),
    )


def feed_all(drain: Drain, flows: list[Flow], share: int, rng: random.Random) -> None:
    """Send `share` bytes on each flow, in pieces and in any order; receive all of it."""
    left = dict.fromkeys(range(len(flows)), share)
    while any(left.values()):
        for number in rng.sample(range(len(flows)), len(flows)):
            piece = min(left[number], rng.choice((1, 1448, 9000, 60_000)))
            left[number] -= flows[number].tcp.feed(piece)
        drain.step()
    drain.run(share * len(flows))
    for flow in flows:
        flow.tcp.finish()
    drain.run()
    assert not drain.open
    for flow in flows:
        assert flow.tcp.check.offset == share


@contract("RECV-19", "RECV-24", "RECV-29", "DBG-5")
@pytest.mark.parametrize("ring_flags", [0, DEFERRED], ids=["plain", "deferred"])
@pytest.mark.parametrize("every", [0, 1, 3], ids=["zero-copy", "copied", "mixed"])
def test_streams_by_the_batch(
    make_station: MakeStation,
    system_every: KeepOut,
    rng: random.Random,
    ring_flags: int,
    every: int,
) -> None:
    """Three streams come byte for byte, and what the loop counts is what the kernel counted."""
    station = make_station(ring_flags=ring_flags)
    flows = [station.flow(4 + 2 * (number % 2)) for number in range(3)]
    system_every(every)
    drain = drain_of(station, flows)
    feed_all(drain, flows, 200_000, rng)
    counters, drained = station.debug().counters(), drain.drained
    assert (counters.zc_bytes, counters.copy_bytes) == (drained.zero_copy, drained.copied)
    assert counters.zc_iovs + counters.copy_iovs == drained.iovs
    assert (counters.fill_invalid, counters.fill_not_owned) == (0, 0)
    assert bool(drained.zero_copy) == (every != 1)
    assert bool(drained.copied) or not every


@contract("RECV-24", "RECV-11", "RECV-29")
@pytest.mark.parametrize("every", [0, 1], ids=["zero-copy", "copied"])
def test_buffers_that_run_out(
    make_station: MakeStation, system_every: KeepOut, rng: random.Random, every: int
) -> None:
    """With two metadata buffers, or two for copies, requests end again and again, and go on."""
    station = make_station(copies=2)
    flows = [station.flow()]
    system_every(every)
    drain = drain_of(station, flows, metas=2, readlen=3000)
    feed_all(drain, flows, 300_000, rng)
    assert drain.drained.again
