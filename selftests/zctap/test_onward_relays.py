# SPDX-License-Identifier: GPL-2.0
"""Payload that a socket of the host takes and another one sends on, without a look at it.

By a BPF sockmap, or by splice(2) and a pipe. The sending socket may keep the pages for as long as
its peer does not read: they must not be pages that the device fills again (RECV-22).
"""

import pytest

from fixtures.onward import MakeOnward, MakeRelay, Passing, all_landed, landed, turn_over
from fixtures.stations import MakeStation, Station
from lib.deadline import wait_until
from netns.onward import Onward

contract = pytest.mark.contract
both_families = pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])
# Regions are small here, and must not run dry for pages that are parked on an idle CPU.
pytestmark = pytest.mark.usefixtures("prompt_frees")

PAGES = 64
TURNS = 3  # how often a stream fills the region
LITTLE = 8 << 10  # bytes: room that the last receiver has
# What waits in B: in the socket that sends it on, and if that has no room either, on its way there.
much_or_little = pytest.mark.parametrize("length", [20_000, 60_000], ids=["sent", "more"])


def waiting(
    station: Station, onward: Onward, relay: MakeRelay, length: int, family: int = 4
) -> Passing:
    """So many bytes that B has taken, and C has no room for."""
    relayed = relay(station, onward, family, rcvbuf=LITTLE)
    relayed.send(length)
    wait_until(lambda: relayed.tcp.queued() > 0, "nothing is relayed", 5)
    there = relayed.tcp.queued()
    assert there < length, f"{there} of {length} bytes are in C already: nothing waits in B"
    return relayed


@contract("BUF-2", "BUF-3", "BUF-4", "RECV-22")
@both_families
def test_stream_that_is_relayed(
    make_onward: MakeOnward, make_station: MakeStation, relay: MakeRelay, family: int
) -> None:
    """A stream much longer than the region arrives elsewhere, byte by byte, and leaves no trace."""
    onward = make_onward()
    station = make_station(onward.link, pages=PAGES)
    relayed = relay(station, onward, family)
    before, length = landed(station), TURNS * station.region.size
    relayed.transfer(length)
    all_landed(station, before, length)
    station.at_rest()


@contract("BUF-2", "BUF-3", "RECV-19", "RECV-22")
@both_families
@much_or_little
def test_what_waits_is_not_overwritten(
    make_onward: MakeOnward, make_station: MakeStation, relay: MakeRelay, length: int, family: int
) -> None:
    """The region is filled again and again; what waits to be sent on stays what it was."""
    onward = make_onward()
    station = make_station(onward.link, pages=2 * PAGES)
    relayed = waiting(station, onward, relay, length, family)
    turn_over(station)
    relayed.read(length)


@contract("REL-7", "REL-8", "RECV-22", "BUF-5")
@much_or_little
def test_what_waits_outlives_the_ring(
    make_onward: MakeOnward, make_station: MakeStation, relay: MakeRelay, length: int
) -> None:
    """The ring is closed: what waits keeps the region, or has nothing to do with it any more."""
    onward = make_onward()
    station = make_station(onward.link, pages=2 * PAGES)
    entry = station.debug()
    relayed = waiting(station, onward, relay, length)
    station.close_ring()

    def decided() -> bool:
        station.flush()
        try:
            return entry.state().release_polls >= 4
        except OSError:
            return True

    wait_until(decided, entry.dump, 2)
    if not entry.exists():  # released, so its owner may write there
        station.region.memory.view[:] = bytes(station.region.size)
    relayed.read(length)
    station.gone(0.5)
