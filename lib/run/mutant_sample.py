# SPDX-License-Identifier: GPL-2.0
"""`mutants --generic`: draw the sample, which takes a folder with the kernel's objects."""

from __future__ import annotations

from pathlib import Path

from lib.mutants import catalogue, sample
from lib.mutants.catalogue import Mutant
from lib.mutants.objects import Objects
from lib.mutants.source import with_mutants
from lib.run import suite
from lib.run.options import Options
from lib.say import say
from lib.vm import cache, kbuild, machine, patches, source

_FORMAT = "sample 1"


def generic(options: Options, known: list[Mutant], folder: Path) -> list[Mutant]:
    """Return the mutants of a seed, from `folder` if they were drawn before. Raises Trouble."""
    count, seed = options.generic, suite.seeded(options).seed
    assert count and seed is not None
    reference = source.debian()
    assert reference.key and reference.pristine
    pristine = reference.pristine
    say(f"mutants: {count} at random, --seed {seed}")

    def draw() -> list[Mutant]:
        built = with_mutants(reference, known)
        profile = catalogue.KERNELS[0]
        kbuild.kernel_for(built, profile)
        build = cache.folder("build", f"{built.name}-{profile}")
        with reference.tree(), built.tree() as (tree, _):
            after = patches.apply_aside(patches.series(source.SERIES), pristine)
            contents = {file: content.decode() for file, content in after.items() if content}
            return sample.draw(
                contents,
                reference,
                Objects(build, tree),
                known,
                count=count,
                seed=seed,
                jobs=options.jobs or machine.cpus(),
            )

    key = cache.key_of(reference.key, _FORMAT)
    return sample.kept(folder / f"generic-{key}-{seed}-{count}.json", draw)
