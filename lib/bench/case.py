# SPDX-License-Identifier: GPL-2.0
"""What is measured: a few settings, each in several ways, again and again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from lib.sizes import size_of

# The first is what the others are compared with.
WAYS = {
    "recv": "recv(2), 16 buffers of 64 KiB by turns",
    "uring": "io_uring RECV, multishot, 16 buffers of 64 KiB",
    "copied": "RECV_ZC of a queue that is not bound: everything is copied",
    "zero-copy": "RECV_ZC of a queue that is bound to the region",
}
BASE = "recv"
# Bytes a write, connections at once.
SIZES, FLOWS = (8 << 10, 64 << 10), (1, 4)
# MTU, and whether the sender hands the link frames of up to 64 KiB (TSO): small frames, frames
# with just a page of payload (behind 20 bytes of IPv4 and 32 of TCP), and large ones.
LINKS = ((1500, False), (4096 + 52, False), (1500, True))
ROUNDS = 4  # or a multiple: see steps()
_LARGEST, _FLOWS, _MTUS = 1 << 20, 16, (1280, 65535)
_MOST = 8 << 30  # bytes of a measurement


@dataclass(frozen=True, order=True)
class Setting:
    """What the sender does, and what the link takes."""

    mtu: int
    tso: bool
    flows: int
    size: int

    @property
    def link(self) -> str:
        """What the link takes."""
        return f"MTU {self.mtu}, TSO {'on' if self.tso else 'off'}"

    def __str__(self) -> str:
        flows = "1 flow" if self.flows == 1 else f"{self.flows} flows"
        return f"{size_of(self.size)} writes, {flows}, {self.link}"


@dataclass(frozen=True)
class Step:
    """One measurement to make."""

    round: int
    setting: Setting
    way: str


def settings(
    sizes: Iterable[int] = (),
    flows: Iterable[int] = (),
    mtus: Iterable[int] = (),
    tso: Iterable[bool] = (),
) -> list[Setting]:
    """All combinations, of the usual values where none are given.

    Those of a link lie together, as changing it takes a while.
    """
    mtus, tso = set(mtus), set(tso)
    links = set(LINKS)
    if mtus or tso:
        usual = ({mtu for mtu, _ in LINKS}, {False, True})
        links = set(product(mtus or usual[0], tso or usual[1]))
    found = product(sorted(links), sorted(set(flows) or FLOWS), sorted(set(sizes) or SIZES))
    return [Setting(*link, *rest) for link, *rest in found]


def switched(text: str) -> tuple[bool, ...]:
    """Return "on" and "off", with commas between them. Raises ValueError for anything else."""
    words = text.split(",")
    if not {*words} <= {"on", "off"}:
        raise ValueError(text)
    return tuple(word == "on" for word in words)


def refused(sizes: Sequence[int], flows: Sequence[int], mtus: Sequence[int]) -> str:
    """Why these cannot be measured, by the option's name; "" if they can, or are usual."""
    for name, values, least, most in (
        ("sizes", sizes, 1, _LARGEST),
        ("flows", flows, 1, _FLOWS),
        ("mtus", mtus, *_MTUS),
    ):
        if values and not least <= min(values) <= max(values) <= most:
            return f"--{name}: from {least} to {most}"
    return ""


def orders(count: int) -> list[list[int]]:
    """Orders of an even number of things, in which each follows each of the others once.

    And is in each place once: a Williams design, that is one order that zigzags, and all its
    shifts.
    """
    zigzag = [at // 2 + 1 if at % 2 else -at // 2 for at in range(count)]
    return [[(at + shift) % count for at in zigzag] for shift in range(count)]


def steps(wanted: Sequence[Setting], rounds: int) -> Iterator[Step]:
    """All measurements, in their order.

    The ways take turns, so that whatever else the machine does meets all of them alike. What a
    way leaves behind (caches, pages, memory to be freed) meets the next: so in four rounds of a
    setting each follows each of the others once, and is the first once. Settings begin with
    different ones, lest a round be one way's.
    """
    names, turns = list(WAYS), orders(len(WAYS))
    for number in range(rounds):
        for at, setting in enumerate(wanted):
            for way in turns[(number + at) % len(turns)]:
                yield Step(number, setting, names[way])


def length(rate: float, seconds: float, setting: Setting) -> int:
    """How many bytes a measurement sends that is to take so long, given a first one's rate.

    The same for each flow, in whole writes.
    """
    unit = setting.flows * setting.size
    least = max(1 << 20, unit)
    return -(-max(least, min(int(rate * seconds), _MOST)) // unit) * unit


def is_most(count: int) -> bool:
    """Whether no measurement sends more, whatever the rate."""
    return count >= _MOST


def part(count: int, setting: Setting) -> int:
    """A quarter of a measurement's bytes, or a little more."""
    return length(count / 4, 1, setting)
