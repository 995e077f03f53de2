# SPDX-License-Identifier: GPL-2.0
"""Which guest runs what: whole modules, so that guests end at about the same time. Pure logic."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping

# Seconds: a second guest for less than this costs more than it saves.
WORTH_A_GUEST = 5.0
# What a module takes beside its tests: import, collection.
_MODULE = 0.1
# So many modules are collected in one go.
_MANY = 6


def weights(modules: Mapping[str, int], durations: Mapping[str, float]) -> dict[str, float]:
    """Return module -> seconds it is expected to take.

    `modules` has the size of each module's source, `durations` those of tests that ran before.
    A module that never ran is taken to be like the others of its size.
    """
    known: dict[str, float] = defaultdict(float)
    for test, seconds in durations.items():
        known[test.split("::", 1)[0]] += seconds
    there = {name: size for name, size in modules.items() if name in known}
    # Where nothing is known: about what 1 KiB of tests takes under emulation.
    rate = sum(known[name] for name in there) / max(1, sum(there.values())) if there else 0.5 / 1024
    return {name: known.get(name, size * rate) + _MODULE for name, size in modules.items()}


def stages(share: list[str], weighted: Mapping[str, float], seed: int | None) -> list[list[str]]:
    """Return a guest's modules in the order of collection: one to begin with, then the others.

    So the first result need not wait until all are collected. It is one of the quicker half,
    never the same for long.
    """
    if len(share) < _MANY:
        return [share]
    quick = sorted(share, key=lambda name: (weighted[name], name))[: len(share) // 2]
    head = random.Random(seed).choice(quick)
    return [[head], [name for name in share if name != head]]


def split(weighted: Mapping[str, float], guests: int) -> list[list[str]]:
    """Return the modules of each guest: at most `guests` lists, none of them empty.

    The longest first, each to the guest that has least so far. The modules of a guest stay in
    the order they came in.
    """
    useful = int(sum(weighted.values()) / WORTH_A_GUEST)
    count = max(1, min(guests, len(weighted), useful))
    loads, shares = [0.0] * count, [set[str]() for _ in range(count)]
    for name in sorted(weighted, key=lambda name: (-weighted[name], name)):
        least = loads.index(min(loads))
        loads[least] += weighted[name]
        shares[least].add(name)
    return [[name for name in weighted if name in share] for share in shares]
