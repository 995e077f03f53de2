# SPDX-License-Identifier: GPL-2.0
"""What to do for each command, once everything that is needed is installed."""

from __future__ import annotations

import time
from dataclasses import replace

from lib.run import (
    bench,
    bisect,
    compare,
    demo,
    in_guest,
    known,
    mutants,
    on_host,
    outputs,
    program,
    project,
    timing,
)
from lib.run.options import Options
from lib.run.resume import NoStart
from lib.say import say
from lib.vm import debian, image, kbuild, modular, source
from lib.vm.kbuild import Kernel


def run(options: Options) -> int:
    """Carry out a command and return the exit status. Raises Trouble."""
    try:
        return _run(options)
    except NoStart as err:
        for line in err.output.decode(errors="replace").splitlines()[-40:]:
            say(line)
        raise


def _run(options: Options) -> int:
    started = time.monotonic()
    if options.command == "contract":
        return known.report(options)
    if options.command == "compare":
        return compare.report(options)
    outputs.check(options)
    if options.command == "nic" and not options.nic.card:
        from lib.run import nic  # with pyroute2, which nobody else here needs

        return nic.run(options)
    if options.command == "timing":
        return timing.report(options)
    if options.command == "bisect":
        return bisect.run(options)
    if options.command == "mutants":
        return mutants.run(options)
    programs = {"demo": demo.run, "bench": bench.run}
    if options.host:
        if options.command in programs:
            return programs[options.command](options, program.OnHost(options))
        return on_host.run(options, started)
    checks = project.check() if options.command == "self" else 0
    kernel = prepare_kernel(options)
    if options.command == "build":
        say(f"image: {image.image()}")
        return 0
    if options.command == "nic":
        from lib.run import nic

        return nic.run_in_guest(options, program.InGuest(options, kernel))
    if options.command in programs:
        return programs[options.command](options, program.InGuest(options, kernel))
    if options.command == "self":
        checks |= project.check(project.IN_GUESTS)
    return in_guest.run(options, kernel, started) or checks


def prepare_kernel(options: Options) -> Kernel:
    """Return the kernel to test, built if need be."""
    if options.debian:
        package = debian.kernel(options.debian)
        given = kbuild.from_image(package.image, options.profile, package.version)
        say(f"kernel: {given.version}")
        return modular.with_modules(given, package.place)
    if options.kernel:
        given = kbuild.from_image(options.kernel, options.profile)
        say(f"kernel: {given.image}")
        given = replace(given, image=kbuild.kept(given.image))
        return modular.with_modules(given, options.modules) if options.modules else given
    if options.tree:
        tree = source.of_tree(options.tree, with_series=options.apply_series)
        kernel = kbuild.kernel_for(tree, options.profile)
    else:
        kernel = kbuild.kernel_for(source.debian(), options.profile)
    state = "cached" if kernel.cached else "new"
    say(f"kernel: {state} {kernel.profile} {kernel.version}: {kernel.image}")
    return kernel
