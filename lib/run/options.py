# SPDX-License-Identifier: GPL-2.0
"""The command line. Standard library only: this runs before anything is installed."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from lib.trouble import Trouble

COMMANDS = {
    "run": "run the suite (what you get without a command)",
    "build": "build the kernel and the guest image, and stop there",
    "self": "check the project itself: ruff, mypy, unit tests, then the suite in the VM",
}
PROFILES = ("plain", "cover", "debug")


@dataclass(frozen=True)
class Options:
    """What was asked for."""

    command: str = "run"
    profile: str = "plain"
    tree: Path | None = None
    apply_series: bool = False
    kernel: Path | None = None
    host: bool = False
    install: bool = True
    snapshot: bool = True
    keyword: str | None = None
    seed: int | None = None
    timeout: float | None = None
    paths: list[str] = field(default_factory=list)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise Trouble(f"{message} (see --help)")


def parse(argv: list[str]) -> Options:
    """Return the options. Raises Trouble for what makes no sense; exits for --help."""
    parser = _Parser(
        prog="run_tests.py",
        description="Test io_uring zero-copy receive on a kernel of your choice; prints KTAP.",
        epilog="commands: " + "; ".join(f"{name}: {what}" for name, what in COMMANDS.items()),
    )
    add = parser.add_argument
    add("words", nargs="*", metavar="[command] [path]", help="tests to run: files, or pytest ids")
    add("--profile", choices=PROFILES, default="plain", help="kernel config (plain)")
    add("--tree", type=Path, metavar="DIR", help="build this kernel tree, not the reference")
    add("--apply-series", action="store_true", help="with --tree: apply kernel/zctap/ to a copy")
    add("--kernel", type=Path, metavar="IMAGE", help="boot this bzImage, build nothing")
    add("--host", action="store_true", help="test the running kernel, without a VM (root)")
    add("--no-install", action="store_true", help="list what is missing and exit with 2")
    add("--no-snapshot", action="store_true", help="boot the guest, do not restore a warm one")
    add("-k", dest="keyword", metavar="EXPR", help="only tests that match, as in pytest")
    add("--seed", type=int, metavar="N", help="of the tests' order and all they draw")
    add("--timeout", type=float, metavar="S", help="a test's deadline in seconds")
    given = parser.parse_intermixed_args(argv)

    words: list[str] = given.words
    command = words.pop(0) if words and words[0] in COMMANDS else "run"
    if sum(map(bool, (given.tree, given.kernel, given.host))) > 1:
        raise Trouble("--tree, --kernel and --host exclude each other")
    if given.apply_series and not given.tree:
        raise Trouble("--apply-series goes with --tree; the reference kernel has the series")
    if command != "run" and given.host:
        raise Trouble(f"--host does not go with {command!r}")
    if command == "self" and words:
        raise Trouble("'self' runs everything; it takes no tests")
    if command == "build" and given.kernel:
        raise Trouble("--kernel does not go with 'build': there is nothing to build")
    for word in words:
        if not Path(word.split("::", 1)[0]).exists():
            raise Trouble(f"no such test file: {word}")
    return Options(
        command=command,
        profile=given.profile,
        tree=given.tree,
        apply_series=given.apply_series,
        kernel=given.kernel,
        host=given.host,
        install=not given.no_install,
        snapshot=not given.no_snapshot,
        keyword=given.keyword,
        seed=given.seed,
        timeout=given.timeout,
        paths=words,
    )
