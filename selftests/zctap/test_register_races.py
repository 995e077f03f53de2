# SPDX-License-Identifier: GPL-2.0
"""Registrations and their ends that meet: one wins, the other is refused, nothing is left."""

import os
import random
import threading
from collections.abc import Callable
from functools import partial

import pytest

from fixtures.links import QUEUE, UNUSED_QUEUE
from fixtures.regions import Mappings
from fixtures.registration import answer, parting, receives, taken_over, valid
from fixtures.stations import MakeStation, Station
from lib.deadline import scaled, wait_until
from lib.uring import PAGE, Memory
from lib.zctap import IfqReq
from lib.zerocopy import Region

contract = pytest.mark.contract
pytestmark = [pytest.mark.zero_copy, pytest.mark.usefixtures("pins_return")]

PAGES = 32
ROUNDS = 8


def at_once(rng: random.Random, *calls: Callable[[], str]) -> list[str]:
    """What the calls return, each made by a thread of its own, as near to each other as we can.

    One of them, drawn at random, starts a little late, so that they meet at another point.
    """
    said = [""] * len(calls)
    barrier = threading.Barrier(len(calls))
    late, delay = rng.randrange(len(calls)), rng.randrange(200)

    def run(which: int) -> None:
        barrier.wait()
        for _ in range(delay if which == late else 0):
            pass
        said[which] = calls[which]()

    threads = [threading.Thread(target=run, args=(which,)) for which in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(scaled(5))
        assert not thread.is_alive(), "the calls wait for each other"
    return said


def contest(rng: random.Random, *stations: Station, losing: set[str]) -> None:
    """All of them register at once, again and again: never two succeed, and one does in the end.

    While the last winner's region drains, all may be refused.
    """

    def one_round() -> list[str]:
        said = at_once(rng, *(partial(answer, each, valid(each)) for each in stations))
        assert said.count("") <= 1, f"both have it: {said}"
        assert set(said) <= losing | {""}, f"{said}, expected one of {losing} for whoever loses"
        return said if "" in said else []

    for _ in range(ROUNDS):
        said = wait_until(one_round, "nobody has it", 2)
        assert parting(stations[said.index("")], IfqReq()) == ""
    for station in stations:  # nothing is left of the winners, nor of the losers
        taken_over(station)
        receives_where_it_is(station)
        assert parting(station, IfqReq()) == ""


def receives_where_it_is(station: Station) -> None:
    """The ifq works, if the link's frames go to its queue."""
    if station.queue == QUEUE:
        receives(station, 5000)


@contract("REG-10", "REG-18")
def test_two_rings_want_one_region(
    mappings: Mappings, make_station: MakeStation, rng: random.Random, explicit: None
) -> None:
    """On two queues at once the same pages: never both, and whoever is refused has left nothing."""
    first, second = mappings(PAGES)
    contest(
        rng,
        make_station(region=Region(PAGES, memory=first), register=False),
        make_station(region=Region(PAGES, memory=second), register=False, queue=UNUSED_QUEUE),
        losing={"EEXIST"},
    )


@contract("REG-10", "REG-18")
def test_two_rings_meet_in_the_middle(
    make_station: MakeStation, rng: random.Random, explicit: None
) -> None:
    """The same, with the pages in opposite order: both have taken some when they meet."""
    fd = os.memfd_create("region")
    with Memory(PAGES * PAGE) as forth, Memory(PAGES * PAGE) as back:
        os.ftruncate(fd, PAGES * PAGE)
        forth.overlay(fd)
        for page in range(PAGES):
            back.overlay(fd, at=page * PAGE, size=PAGE, offset=(PAGES - 1 - page) * PAGE)
        os.close(fd)
        stations = [
            make_station(region=Region(PAGES, memory=forth), register=False),
            make_station(region=Region(PAGES, memory=back), register=False, queue=UNUSED_QUEUE),
        ]
        contest(rng, *stations, losing={"EEXIST"})
        for station in stations:
            station.close()


@contract("REG-14", "REG-18")
def test_two_rings_want_one_queue(
    make_station: MakeStation, rng: random.Random, explicit: None
) -> None:
    """With a region each: never both, and the loser's region is free."""
    stations = [make_station(pages=PAGES, register=False) for _ in range(2)]
    contest(rng, *stations, losing={"EBUSY", "EEXIST"})


@contract("REG-4", "REG-20")
def test_one_ring_from_two_threads(idle: Station, rng: random.Random, explicit: None) -> None:
    """Two registrations on one ring: one is EBUSY; and of two unregistrations one is EINVAL."""

    def register() -> str:
        return answer(idle, valid(idle))

    def unregister() -> str:
        return parting(idle, IfqReq())

    for _ in range(ROUNDS):
        wait_until(lambda: register() == "", "the region does not come free", 2)
        assert sorted(at_once(rng, unregister, unregister)) == ["", "EINVAL"]
        taken_over(idle)
        assert unregister() == ""
        # The last region may still drain: then both are EEXIST, or who came first was too early.
        said = wait_until(lambda: settled(at_once(rng, register, register)), "no winner", 2)
        assert sorted(said) in (["", "EBUSY"], ["", "EEXIST"]), said
        assert unregister() == ""
    taken_over(idle)
    receives(idle)


def settled(said: list[str]) -> list[str]:
    """The answers, unless all are about a region that drains."""
    return said if "" in said else []


@contract("REG-19", "REL-4", "REG-18")
def test_registering_while_the_owner_closes(make_station: MakeStation, rng: random.Random) -> None:
    """A ring is closed as another one wants its queue: busy or bound, and bound in the end."""
    heir = make_station(pages=PAGES)
    for _ in range(ROUNDS):
        owner, heir = heir, make_station(pages=PAGES, register=False)

        def close(owner: Station = owner) -> str:
            owner.close_ring()
            return ""

        said = at_once(rng, close, partial(answer, heir, valid(heir)))[1]
        assert said in ("", "EBUSY"), said
        if said:
            taken_over(heir)
    receives(heir)
