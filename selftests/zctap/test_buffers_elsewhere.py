# SPDX-License-Identifier: GPL-2.0
"""Buffers that come free on another CPU than the one that took their frames in."""

from collections.abc import Callable

import pytest

from fixtures.peers import Craft, CraftedFlow
from fixtures.stations import MakeStation, Station
from lib.cpus import allowed, on_cpu

contract = pytest.mark.contract

# Fewer than any device posts, and than make the kernel look after freed skbs by itself.
PAGES = 16
SIZE = 1000


def by_recv(flow: CraftedFlow) -> None:
    """Read all with recv(2)."""
    flow.tcp.read(PAGES * SIZE)


def by_recv_zc(flow: CraftedFlow) -> None:
    """Read all with RECV_ZC, and give it back."""
    flow.drain(PAGES * SIZE)


Way = Callable[[CraftedFlow], None]
both_ways = pytest.mark.parametrize("way", [by_recv, by_recv_zc], ids=["recv", "recv-zc"])


@pytest.fixture
def cpus() -> list[int]:
    """The CPUs of this machine: the first takes frames in, the last reads."""
    found = allowed()
    if len(found) < 2:
        pytest.skip("needs two CPUs")
    return found


@pytest.fixture
def station(make_station: MakeStation) -> Station:
    """A station with a small region."""
    return make_station(pages=PAGES)


@pytest.fixture
def loaded(station: Station, craft: Craft, cpus: list[int]) -> CraftedFlow:
    """A flow that has the whole region in its socket, in frames that the first CPU took in."""
    flow = craft(station)
    for _ in range(PAGES):
        flow.peer.put(flow.peer.next(SIZE))
    flow.peer.wait_queued(PAGES * SIZE)
    return flow


@contract("BUF-6", "BUF-3")
@both_ways
def test_no_skb_keeps_a_buffer(
    station: Station, loaded: CraftedFlow, cpus: list[int], way: Way
) -> None:
    """The skbs are read on another CPU, and let go of their buffers then and there."""
    assert station.debug().accounting().skb == PAGES
    with on_cpu(cpus[-1]):
        way(loaded)
        kept = station.debug().accounting().skb
    assert kept == 0, f"{kept} of {PAGES} buffers wait with skbs that were read (on a defer_list?)"


@contract("BUF-6", "DEV-4")
@both_ways
def test_next_frame_finds_a_buffer(loaded: CraftedFlow, cpus: list[int], way: Way) -> None:
    """Right after the reading, with no other frame in between, one that comes is not dropped.

    Else a sender would have to repeat it until some frame happens to come in by the first CPU.
    """
    with on_cpu(cpus[-1]):
        way(loaded)
        loaded.peer.put(loaded.peer.next(SIZE))
    loaded.peer.wait_queued(SIZE)
    loaded.drain(SIZE)
