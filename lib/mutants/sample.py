# SPDX-License-Identifier: GPL-2.0
"""A random sample of generic mutants, kept on disk: the same seed is the same sample."""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from lib.mutants import generic
from lib.mutants.catalogue import Change, Mutant
from lib.mutants.objects import Objects
from lib.trouble import Trouble
from lib.vm import notes
from lib.vm.source import Source

_FILES = (
    "io_uring/zctap.c",
    "io_uring/zctap_buf.c",
    "io_uring/zctap_debugfs.c",
    "io_uring/zctap_recv.c",
    "drivers/net/veth.c",
)


def draw(
    contents: dict[str, str],
    reference: Source,
    objects: Objects,
    near: Iterable[Mutant],
    *,
    count: int,
    seed: int,
    jobs: int,
) -> list[Mutant]:
    """Return `count` mutants that compile to something else. Raises Trouble for want of them."""
    changes: list[Change] = []
    for file in _FILES:
        before = reference.pristine(file) if reference.pristine else None
        # Of a file that was there before, what the series adds to it.
        lines = set(notes.added_lines(before.decode(), contents[file])) if before else None
        changes += generic.mutations(contents[file], file, lines)
    changes.sort(key=lambda change: (change.file, change.at, change.old, change.new))
    random.Random(seed).shuffle(changes)
    mutants = generic.mutants(changes, near, f"generic-{seed}")
    found: list[Mutant] = []
    with ThreadPoolExecutor(jobs) as pool:
        while mutants and len(found) < count:
            some, mutants = mutants[: 2 * jobs], mutants[2 * jobs :]
            texts = [contents[mutant.changes[0].file] for mutant in some]
            good = list(pool.map(objects.differs, some, texts))
            found += [mutant for mutant, differs in zip(some, good, strict=True) if differs]
    if len(found) < count:
        raise Trouble(f"there are only {len(found)} generic mutants")
    return found[:count]


def kept(path: Path, make: Callable[[], list[Mutant]]) -> list[Mutant]:
    """Return the sample in a file, or make it and keep it there."""
    try:
        entries = json.loads(path.read_text())
        return [_mutant(entry) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError):
        mutants = make()
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        temporary.write_text(json.dumps([asdict(mutant) for mutant in mutants]) + "\n")
        temporary.replace(path)
        return mutants


def _mutant(entry: dict[str, object]) -> Mutant:
    changes = entry.pop("changes")
    contract, near = entry.pop("contract"), entry.pop("near")
    assert isinstance(changes, list) and isinstance(contract, list) and isinstance(near, list)
    return Mutant(
        **entry,  # type: ignore[arg-type]
        changes=tuple(Change(**change) for change in changes),
        contract=tuple(contract),
        near=tuple(near),
    )


def interval(good: int, all_of_them: int) -> tuple[float, float]:
    """Return between which shares the true one lies, with 95 % confidence (Wilson's)."""
    if not all_of_them:
        return 0.0, 1.0
    z = 1.96
    share, weight = good / all_of_them, z * z / all_of_them
    middle = share + weight / 2
    spread = z * math.sqrt(share * (1 - share) / all_of_them + weight / all_of_them / 4)
    return max(0.0, (middle - spread) / (1 + weight)), min(1.0, (middle + spread) / (1 + weight))
