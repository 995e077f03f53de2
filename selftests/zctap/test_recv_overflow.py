# SPDX-License-Identifier: GPL-2.0
"""A completion queue that is too short: what it has no room for is not lost (RECV-24)."""

import errno
from typing import Any

import pytest

from fixtures.multishot import DEFERRED, Multishot, pool_of
from fixtures.stations import META, MakeStation
from lib.deadline import wait_until

contract = pytest.mark.contract

# Where all is copied each completion takes one.
MANY: dict[str, Any] = {"copies": 256, "copy_size": 64}


@contract("RECV-24", "RECV-29")
@pytest.mark.parametrize("ring_flags", [0, DEFERRED], ids=["plain", "deferred"])
@pytest.mark.parametrize("requests", [1, 3])
def test_completion_queue_overflows(
    make_station: MakeStation, ring_flags: int, requests: int
) -> None:
    """More arrivals than the CQ has room for: no byte, page or buffer is lost."""
    station = make_station(ring_flags=ring_flags, cq_entries=64, **MANY)
    flows = [station.flow() for _ in range(requests)]
    pool = pool_of(station, 256, 64)
    shots, full = {}, False
    for flow in flows:
        shot = Multishot(station, flow, pool, readlen=10)
        shot.arm()
        shots[shot.request] = shot
    for _ in range(4):
        for flow in flows:
            flow.tcp.send(300)
    for flow in flows:
        wait_until(flow.tcp.acknowledged, "an acknowledgement")

    def due() -> bool:
        return any(flow.tally.total < 1200 for flow in flows)

    while due():
        full = full or station.ring.overflowed
        found = station.ring.wait(1)
        full = full or station.ring.overflowed
        for cqe in found:
            shot = shots[cqe.user_data]
            received = shot.see(cqe)
            assert received.error in (0, errno.ENOBUFS)
            full = full or (shot.ended and received.length > 0)  # rather than overflow it stops
            if shot.ended and shot.flow.tally.total < 1200:
                del shots[cqe.user_data]
                shot.arm()
                shots[shot.request] = shot
    assert full, "the completion queue was never full"
    assert station.ring.lost == 0
    assert all(flow.tcp.queued() == 0 for flow in flows)


@contract("RECV-24", "RECV-29")
@pytest.mark.parametrize("ring_flags", [0, DEFERRED], ids=["plain", "deferred"])
def test_single_completions_overflow(make_station: MakeStation, ring_flags: int) -> None:
    """So it is with single requests: what the CQ has no room for waits in the kernel."""
    station = make_station(ring_flags=ring_flags, cq_entries=64, **MANY)
    flow, pool, count = station.flow(), pool_of(station, 128, 16), 100
    flow.tcp.send(count)
    flow.tcp.wait_queued(count)
    for _ in range(2):
        for _ in range(count // 2):
            station.ring.push(flow.receiver.sqe_select(1, META))
        station.ring.submit()
    assert station.ring.overflowed
    for cqe in station.ring.wait(count):
        received = flow.receiver.decode(cqe, pool.used(cqe))
        assert received.length == 1, cqe
        flow.receiver.give_back(flow.accept(received))
    assert station.ring.lost == 0
