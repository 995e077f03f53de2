# SPDX-License-Identifier: GPL-2.0
"""Payload that landed in a region and leaves the host again, unread: nobody can give it back.

A sends, B has the ring, C receives; B's stack hands the frames on.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from fixtures.onward import MakeOnward, MakePassing, Passing, all_landed, landed, turn_over
from fixtures.parking import PARKED, keeps
from fixtures.stations import MakeStation, Station
from lib.deadline import wait_until
from netns import End, Unsupported
from netns.device import held_back
from netns.onward import (
    Onward,
    Way,
    bridged,
    ipvlan,
    macvlan,
    mirrored,
    patched,
    routed,
    stopped,
)
from netns.packet import Gathered, read_all, tap

contract = pytest.mark.contract
both_families = pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])
by_each_way = pytest.mark.parametrize("way", [routed, bridged, patched, macvlan, ipvlan])
# Regions are small here, and must not run dry for pages that are parked on an idle CPU.
pytestmark = pytest.mark.usefixtures("prompt_frees")

PAGES = 64
TURNS = 3  # how often a stream fills the region
IP_MTU_DISCOVER, IP_PMTUDISC_DONT = 10, 0  # linux/in.h
FIRST_FLIGHT = 10_000  # bytes: what TCP sends without an answer


def long_stream(passing: Passing) -> None:
    """Many times what the region holds passes: all of it through the region, each byte right."""
    station, length = passing.station, TURNS * passing.station.region.size
    before = landed(station)
    passing.transfer(length)
    all_landed(station, before, length)
    station.at_rest()


Switch = Callable[[End, str, bool], None]


@pytest.fixture
def switch_off(switch: Switch) -> Callable[[Onward, str], None]:
    """Switches an offload of the outgoing device off; "" is none."""

    def switch_off(onward: Onward, offload: str) -> None:
        assert onward.out is not None
        if offload:
            switch(onward.out, offload, False)

    return switch_off


SwitchOff = Callable[[Onward, str], None]


@contract("BUF-3", "BUF-4", "DEV-1", "RECV-22")
@by_each_way
@both_families
def test_stream_that_goes_on(
    make_onward: MakeOnward, make_station: MakeStation, passing: MakePassing, way: Way, family: int
) -> None:
    """A stream much longer than the region arrives elsewhere, byte by byte, and leaves no trace."""
    onward = make_onward(way)
    station = make_station(onward.link, pages=PAGES)
    long_stream(passing(station, onward, family))


# tso: the kernel cuts large frames itself. sg: it copies what it cuts. tx-checksum: it reads it.
@contract("BUF-2", "BUF-3", "BUF-4", "RECV-22")
@pytest.mark.parametrize(
    ("offload", "family"), [("tso", 4), ("tso", 6), ("sg", 4), ("tx-checksum", 6)]
)
def test_stream_that_is_cut_in_software(
    make_onward: MakeOnward,
    switch_off: SwitchOff,
    make_station: MakeStation,
    passing: MakePassing,
    offload: str,
    family: int,
) -> None:
    """So it does when the outgoing device can neither cut frames, gather them nor sum them up."""
    onward = make_onward()
    switch_off(onward, offload)
    station = make_station(onward.link, pages=PAGES)
    long_stream(passing(station, onward, family))


@pytest.fixture
def joined(make_onward: MakeOnward, switch: Switch) -> Iterator[None]:
    """Segments come one by one, several at once, and are joined on arrival (GRO)."""
    link = make_onward().link
    switch(link.tx, "tso", False)
    switch(link.rx, "gro", True)
    try:
        with held_back(link.tx, 3000):
            yield
    except Unsupported as error:
        pytest.skip(str(error))


@contract("BUF-2", "BUF-3", "BUF-4", "RECV-22")
@pytest.mark.parametrize(
    ("offload", "family"), [("", 4), ("tso", 6), ("sg", 4)], ids=["as-it-is", "tso-6", "sg-4"]
)
def test_stream_that_is_joined_and_cut(
    joined: None,
    make_onward: MakeOnward,
    switch_off: SwitchOff,
    make_station: MakeStation,
    passing: MakePassing,
    offload: str,
    family: int,
) -> None:
    """So it does when segments are joined on the way in, and cut again on the way out."""
    onward = make_onward()
    switch_off(onward, offload)
    station = make_station(onward.link, pages=PAGES)
    long_stream(passing(station, onward, family))


@contract("BUF-2", "BUF-3", "BUF-4", "RECV-22")
@pytest.mark.parametrize(
    ("family", "discovers"),
    [(4, False), (4, True), (6, True)],
    ids=["ipv4-fragmented", "ipv4-discovered", "ipv6-discovered"],
)
def test_stream_that_meets_a_smaller_mtu(
    make_onward: MakeOnward,
    make_station: MakeStation,
    passing: MakePassing,
    family: int,
    discovers: bool,
) -> None:
    """So it does when frames are too large to go on: sent again smaller, or as IP fragments."""
    onward = make_onward(routed)
    assert onward.out is not None
    onward.out.set(mtu=1280)
    station = make_station(onward.link, pages=PAGES)
    stream = passing(station, onward, family)
    if not discovers:
        stream.tcp.tx.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
    long_stream(stream)


@contract("REL-7", "DBG-7", "REL-1")
@both_families
def test_copied_frames_hold_nothing(
    make_onward: MakeOnward,
    switch_off: SwitchOff,
    make_station: MakeStation,
    passing: MakePassing,
    family: int,
) -> None:
    """What the outgoing device had to have in one piece is a copy: the region is free of it."""
    onward = make_onward()
    switch_off(onward, "sg")
    station = make_station(onward.link, pages=PAGES)
    stream = passing(station, onward, family)
    stream.send(PARKED)
    station.at_rest()
    station.close_ring()
    station.gone(0.2)
    station.region.memory.view[:] = bytes(station.region.size)
    stream.read(PARKED)


# -- what waits elsewhere ------------------------------------------------------------------------


def close_ring(station: Station) -> None:
    """The ifq ends with its ring."""
    station.close_ring()


def unregister(station: Station) -> None:
    """The ifq is unregistered; skips where that cannot be had."""
    if station.zctap.unregister_ifq is None:
        pytest.skip("this kernel unregisters an ifq only with its ring")
    assert station.ifq is not None
    station.ifq.close()


@contract("REL-7", "REL-1", "REL-9", "REL-10", "BUF-4")
@pytest.mark.parametrize(
    ("way", "end"),
    [
        (routed, unregister),
        *((way, close_ring) for way in (routed, bridged, patched, macvlan, ipvlan)),
    ],
)
def test_unread_elsewhere_outlives_the_ifq(
    make_onward: MakeOnward,
    make_station: MakeStation,
    passing: MakePassing,
    way: Way,
    end: Callable[[Station], None],
) -> None:
    """Unread in a socket of another namespace, payload keeps its region, and is read intact."""
    onward = make_onward(way)
    station = make_station(onward.link, pages=PAGES)
    stream = passing(station, onward)
    stream.send(PARKED)
    end(station)
    keeps(station.debug(), 4)
    stream.read(PARKED)
    station.gone(0.2)


@contract("REL-7", "REL-1", "BUF-4")
@both_families
def test_unread_elsewhere_and_dropped(
    make_onward: MakeOnward, make_station: MakeStation, passing: MakePassing, family: int
) -> None:
    """Payload that nobody reads lets go of the region when its socket is closed."""
    onward = make_onward()
    station = make_station(onward.link, pages=PAGES)
    stream = passing(station, onward, family)
    stream.send(PARKED)
    station.close_ring()
    keeps(station.debug(), 2)
    stream.tcp.close()
    station.gone(0.2)


@pytest.fixture
def held_up(make_onward: MakeOnward) -> Iterator[Callable[[Passing, Onward], Callable[[], None]]]:
    """Sends FIRST_FLIGHT bytes that wait in B's qdisc; the function it gives lets them go."""
    with ExitStack() as undo:

        def hold(stream: Passing, onward: Onward) -> Callable[[], None]:
            try:
                let_go = undo.enter_context(stopped(onward))
            except Unsupported as error:
                pytest.skip(str(error))
            station = stream.station
            stream.tcp.send(FIRST_FLIGHT)
            entry = station.debug()
            wait_until(lambda: entry.accounting().skb > 0, "nothing is held up", 5)
            return let_go

        yield hold


Hold = Callable[[Passing, Onward], Callable[[], None]]
# A frame that is larger than the bucket is cut when it leaves the qdisc, if it can be.
cut_or_not = pytest.mark.parametrize("offload", ["", "tso"], ids=["large", "cut"])


@contract("REL-7", "REL-1", "REL-10", "BUF-4")
@pytest.mark.parametrize(
    ("family", "offload", "end"),
    [(4, "", close_ring), (4, "tso", unregister), (6, "", unregister), (6, "tso", close_ring)],
)
def test_held_up_outlives_the_ifq(
    make_onward: MakeOnward,
    switch_off: SwitchOff,
    make_station: MakeStation,
    held_up: Hold,
    passing: MakePassing,
    family: int,
    offload: str,
    end: Callable[[Station], None],
) -> None:
    """What waits in the qdisc it is to leave by keeps its region, and arrives intact."""
    onward = make_onward()
    switch_off(onward, offload)
    station = make_station(onward.link, pages=PAGES)
    stream = passing(station, onward, family)
    let_go = held_up(stream, onward)
    end(station)
    keeps(station.debug(), 4)
    let_go()
    stream.read(FIRST_FLIGHT)
    station.gone(1)


@contract("BUF-2", "BUF-3", "RECV-19")
@both_families
def test_unread_elsewhere_is_not_overwritten(
    make_onward: MakeOnward, make_station: MakeStation, passing: MakePassing, family: int
) -> None:
    """The region is filled again and again, and what lies unread elsewhere stays what it was."""
    onward = make_onward()
    station = make_station(onward.link, pages=2 * PAGES)
    stream = passing(station, onward, family)
    for _ in range(2):
        stream.send(PARKED)
        turn_over(station)
        stream.read(PARKED)


@contract("BUF-2", "BUF-3", "RECV-19")
@both_families
@cut_or_not
def test_held_up_is_not_overwritten(
    make_onward: MakeOnward,
    switch_off: SwitchOff,
    make_station: MakeStation,
    held_up: Hold,
    passing: MakePassing,
    family: int,
    offload: str,
) -> None:
    """So does what waits in a qdisc meanwhile."""
    onward = make_onward()
    switch_off(onward, offload)
    station = make_station(onward.link, pages=2 * PAGES)
    stream = passing(station, onward, family)
    let_go = held_up(stream, onward)
    turn_over(station)
    let_go()
    stream.read(FIRST_FLIGHT)


# -- both: received here, and a copy of it elsewhere ---------------------------------------------


def all_of_it(mirror: socket.socket, seen: Gathered, length: int) -> None:
    """So much of the stream comes by the mirror, byte by byte right."""

    def come() -> bool:
        read_all(mirror, seen)
        return seen.length == length

    wait_until(come, lambda: f"{seen.length} of {length} bytes were mirrored", 5)


@contract("BUF-2", "BUF-3", "BUF-4", "RECV-19")
@pytest.mark.parametrize("offload", ["", "tso", "sg"], ids=["as-it-is", "tso", "sg"])
def test_mirrored_frames(
    make_onward: MakeOnward, switch_off: SwitchOff, make_station: MakeStation, offload: str
) -> None:
    """Frames that tc has mirrored stay what they were, while the user is done with their pages."""
    onward = make_onward(mirrored)
    switch_off(onward, offload)
    station = make_station(onward.link, pages=2 * PAGES)
    flow, each = station.flow(4), 20_000
    seen = Gathered(flow.tcp.check.pattern, flow.tcp.rx.getsockname()[1])
    before, length = landed(station), 0
    with tap(onward.end) as mirror:
        while length < 2 * station.region.size:
            for _ in range(8):
                flow.transfer(each)
                length += each
            all_of_it(mirror, seen, length)
    all_landed(station, before, length)
    assert flow.tally.zero_copy > flow.tally.copied, f"nothing in the region: {flow.tally}"
