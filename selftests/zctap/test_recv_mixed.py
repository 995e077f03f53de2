# SPDX-License-Identifier: GPL-2.0
"""Streams of which some frames are in the region and some on system pages (DEV-5)."""

import errno
from itertools import pairwise

import pytest

from fixtures.mixing import KeepOut
from fixtures.stations import Flow, MakeStation, Station

contract = pytest.mark.contract


def alternate(flow: Flow, count: int, size: int = 500) -> None:
    """Send `count` frames; wait until they lie in the socket."""
    queued = flow.tcp.queued()
    for number in range(1, count + 1):
        flow.tcp.send(size)
        flow.tcp.wait_queued(queued + number * size)


@contract("DEV-5", "RECV-21", "DBG-5")
@pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("every", [2, 3])
def test_both_kinds_in_a_call(
    station: Station, system_every: KeepOut, family: int, every: int
) -> None:
    """One call reports all there is, pieces of both kinds, in stream order, each where it lies."""
    flow = station.flow(family)
    system_every(every)
    alternate(flow, 12)
    chunks = flow.accept(flow.receiver.run(flow.receiver.sqe(12 * 500)))
    assert sum(len(chunk.data) for chunk in chunks) == 12 * 500, f"{chunks}, of more that was there"
    kinds = [chunk.zero_copy for chunk in chunks]
    changes = sum(one != other for one, other in pairwise(kinds))
    assert changes >= 12 // every, kinds
    counters = station.debug().counters()
    assert (counters.zc_bytes, counters.copy_bytes) == (flow.tally.zero_copy, flow.tally.copied)
    assert flow.tally.zero_copy >= flow.tally.copied
    flow.receiver.give_back(chunks)


@contract("DEV-5", "RECV-21")
def test_no_frame_and_every_frame(station: Station, system_every: KeepOut) -> None:
    """With 1 all is copied; back at 0 nothing is."""
    flow = station.flow()
    for every, expected in ((1, False), (0, True), (1, False)):
        system_every(every)
        alternate(flow, 4)
        chunks = flow.take(4 * 500)
        kinds = [chunk.zero_copy for chunk in chunks]
        assert sum(kinds) >= 3 if expected else not any(kinds), kinds
        flow.receiver.give_back(chunks)


@contract("RECV-21", "RECV-19", "RECV-29")
@pytest.mark.parametrize("every", [2, 7])
def test_long_stream(station: Station, system_every: KeepOut, every: int) -> None:
    """A long stream that mixes comes byte for byte, with all buffers accounted for."""
    flow = station.flow()
    system_every(every)
    flow.transfer(600_000, readlen=20_000)
    assert flow.tally.zero_copy
    assert flow.tally.copied


@contract("RECV-11", "RECV-12", "RECV-29", "DBG-5")
def test_copy_buffers_that_run_out(make_station: MakeStation, system_every: KeepOut) -> None:
    """Pieces in the region come as far as the first that needs a copy; that one is ENOBUFS."""
    station = make_station(copies=0)
    flow, count, refused = station.flow(), 8, 0
    system_every(2)
    alternate(flow, count)
    queued = flow.tcp.queued()
    while queued:
        received = flow.receiver.run(flow.receiver.sqe(count * 500))
        chunks = flow.accept(received)
        assert flow.tcp.queued() == queued - received.length
        queued -= received.length
        if received.error:
            assert (received.error, chunks) == (errno.ENOBUFS, [])
            refused += 1
            assert station.debug().counters().recv_enobufs == refused
            station.copy.give(0)
            (chunk,) = flow.accept(flow.receiver.run(flow.receiver.sqe(500)))
            assert not chunk.zero_copy
            queued -= len(chunk.data)
            station.copy.held.clear()  # it is given when it is wanted again, not now
        else:
            assert all(chunk.zero_copy for chunk in chunks)
            flow.receiver.give_back(chunks)
    assert refused >= count // 2 - 1
    assert flow.tally.copied >= refused


@contract("RECV-12")
def test_data_in_the_region_behind_a_copy(make_station: MakeStation, system_every: KeepOut) -> None:
    """Where a copy is due and impossible, nothing behind it is reported out of turn."""
    station = make_station(copies=0)
    flow = station.flow()
    system_every(1)
    alternate(flow, 1)
    system_every(0)
    alternate(flow, 3)
    for _ in range(2):
        flow.refused(flow.receiver.sqe(2000), errno.ENOBUFS)
    station.copy.give(0)
    flow.drain(2000)
    assert flow.tally.copied == 500
