# SPDX-License-Identifier: GPL-2.0
"""REG-23: of several causes the first is reported, whichever come together."""

import itertools
import random
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any

import pytest

from fixtures.links import UNUSED_QUEUE
from fixtures.registration import accepted, answer, no_room_for_a_region, valid
from fixtures.stations import MakeStation
from lib import caps
from lib.uring import PAGE

contract = pytest.mark.contract
pytestmark = [pytest.mark.zero_copy, pytest.mark.usefixtures("pins_return")]

PAGES = 16
OFF_THE_PAGE, TAKEN = 1, 2  # fixed buffers beside the region itself


@dataclass(frozen=True)
class Cause:
    """A reason to refuse: its rank in REG-23, what the kernel says, and how it is brought about.

    busy: on a ring that has an ifq. nr_args, fields: of the call. state: in force meanwhile.
    """

    rank: int
    name: str
    error: str
    fields: tuple[tuple[str, Any], ...] = ()
    nr_args: int = 1
    busy: bool = False
    state: Callable[[], AbstractContextManager[None]] = nullcontext


CAUSES = [
    Cause(0, "nr_args", "EINVAL", nr_args=2),
    Cause(1, "pad", "EINVAL", (("pad", (0, 1)),)),
    Cause(2, "ifq_id", "EFAULT", (("ifq_id", 1),)),
    Cause(3, "busy", "EBUSY", busy=True),
    Cause(4, "device", "ENODEV", (("ifindex", 0x7FFFFFFF),)),
    Cause(5, "capability", "EPERM", state=lambda: caps.without(caps.CAP_NET_ADMIN)),
    Cause(6, "no-buffer", "EFAULT", (("region_id", 9),)),
    Cause(6, "off-the-page", "EFAULT", (("region_id", OFF_THE_PAGE),)),
    Cause(6, "taken", "EEXIST", (("region_id", TAKEN),)),
    Cause(7, "memory", "ENOMEM", state=no_room_for_a_region),
    Cause(8, "no-queue", "EINVAL", (("queue_id", 99),)),
    Cause(8, "bound-queue", "EBUSY", (("queue_id", UNUSED_QUEUE),)),
    Cause(8, "other-driver", "EINVAL", (("ifindex", 1),)),
]
Several = tuple[Cause, ...]
# Where it ranks that a device has no ndo_bpf is left open (REG-12).
RANKED = [cause for cause in CAUSES if cause.name != "other-driver"]


def compatible(causes: Several) -> bool:
    """Whether they can come together: each of another rank, and no two about one field."""
    names = [name for cause in causes for name, _ in cause.fields]
    ranks = [cause.rank for cause in causes]
    return len(set(names)) == len(names) and len(set(ranks)) == len(ranks)


class Bench:
    """Two rings to register on, one with an ifq and one without, and someone else's ifq."""

    def __init__(self, make_station: MakeStation) -> None:
        other = make_station(pages=PAGES, queue=UNUSED_QUEUE)
        with caps.without(caps.CAP_IPC_LOCK):  # judged when the ring is made
            self.idle = make_station(pages=PAGES, register=False)
            self.busy = make_station(pages=PAGES, register=False)
        for station in (self.idle, self.busy):
            region = station.region
            station.ring.update_buffer(OFF_THE_PAGE, region.addr + 512, region.size - PAGE)
            station.ring.update_buffer(TAKEN, other.region.page_addr(0), 2 * PAGE)
        self.busy.register()

    def answer(self, causes: Several) -> str:
        """What a registration says that has all these faults."""
        station = self.busy if any(cause.busy for cause in causes) else self.idle
        fields = {name: value for cause in causes for name, value in cause.fields}
        pad = fields.pop("pad", (0, 0))
        req = valid(station, **fields)
        req.pad[:] = pad
        nr_args = max(cause.nr_args for cause in causes)
        with ExitStack() as stack:
            # Entered first, as the registration changes namespaces with what is left.
            stack.enter_context(caps.without(caps.CAP_IPC_LOCK))
            for cause in causes:
                stack.enter_context(cause.state())
            return answer(station, req, nr_args)


@pytest.fixture
def bench(make_station: MakeStation) -> Bench:
    """What the faults are made with."""
    return Bench(make_station)


def wrong(bench: Bench, groups: list[Several]) -> list[str]:
    """The groups of causes for which another one than the first is reported."""
    found = []
    for causes in groups:
        first = min(causes, key=lambda cause: cause.rank)
        seen = bench.answer(causes)
        if seen != first.error:
            names = " + ".join(cause.name for cause in causes)
            found.append(f"{names}: {seen or 'accepted'}, expected {first.error} of {first.name}")
    return found


def adjacent(causes: Several) -> bool:
    """Whether their ranks follow each other."""
    return causes[1].rank - causes[0].rank == 1


PAIRS: list[Several] = [some for some in itertools.combinations(RANKED, 2) if compatible(some)]
TRIPLES: list[Several] = [some for some in itertools.combinations(RANKED, 3) if compatible(some)]

# Left out, one fault of each rank remains, and no two about the same field.
OMITTED = {"off-the-page", "taken", "bound-queue", "other-driver"}


@contract("REG-23", "REG-1", "REG-3", "REG-4", "REG-5", "REG-6", "REG-7", "REG-8")
@contract("REG-10", "REG-11", "REG-12", "REG-13", "REG-14", "REG-21")
def test_each_cause_alone(bench: Bench) -> None:
    """Each fault by itself has its errno: so the combinations show an order, and no accident."""
    assert wrong(bench, [(cause,) for cause in CAUSES]) == []
    accepted_after(bench)


@contract("REG-23", "REG-18")
def test_two_causes(bench: Bench) -> None:
    """Of any two causes the one of lower rank is reported, and nothing is left of either."""
    assert {pair[0].rank for pair in PAIRS if adjacent(pair)} == set(range(8))
    assert wrong(bench, PAIRS) == []
    accepted_after(bench)


@contract("REG-23", "REG-18")
def test_many_causes(bench: Bench, rng: random.Random) -> None:
    """Of three causes, picked at random, and of all at once, the first is reported."""
    everything = [cause for cause in CAUSES if cause.name not in OMITTED]
    groups = rng.sample(TRIPLES, 20) + [
        tuple(everything[start:]) for start in range(len(everything))
    ]
    assert wrong(bench, groups) == []
    accepted_after(bench)


def accepted_after(bench: Bench) -> None:
    """Without any fault the registration works."""
    bench.busy.close()
    accepted(bench.idle)
