# SPDX-License-Identifier: GPL-2.0
"""The reference kernel with all mutants in it, as something that can be built."""

from __future__ import annotations

from functools import partial

from lib.mutants import schemata
from lib.mutants.catalogue import Mutant
from lib.vm import cache, mirror, patches
from lib.vm.source import SERIES, Source


def with_mutants(reference: Source, mutants: list[Mutant]) -> Source:
    """Return the source in a tree of its own, so that no other build finds a trace of it.

    `reference` is Debian's kernel with our series. Raises Trouble for a mutant that does not fit.
    """
    assert reference.key and reference.pristine
    pristine, series = reference.pristine, patches.series(SERIES)
    # Before anything is copied or built: what is wrong with the catalogue shows here.
    with reference.tree():
        schemata.compiled_in(patches.apply_aside(series, pristine), mutants)
    name = f"mutants-{reference.path.name}"
    copy = cache.folder("source") / name
    key = cache.key_of(reference.key, schemata.key(mutants))

    def prepare() -> None:
        with reference.tree() as (tree, _):
            mirror.sync(tree, copy)
            change = partial(schemata.compiled_in, mutants=mutants)
            patches.update(copy, series, pristine, change)

    return Source(
        name=name,
        version=f"{reference.version} + {len(mutants)} mutants",
        key=key,
        reference=True,
        path=copy,
        state=key,
        prepare=prepare,
        pristine=pristine,
    )
