# SPDX-License-Identifier: GPL-2.0
"""Measure the suite as a user runs it: from the command to its end."""

from __future__ import annotations

import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from lib.report.model import Run, replay
from lib.report.timing import Timing, lines
from lib.run.options import Options
from lib.run.suite import ROOT
from lib.say import say
from lib.trouble import Trouble
from lib.vm import cache
from lib.vm.command import mortal

_NOTHING = "def test_nothing() -> None:\n    pass\n"
_FIRST = re.compile(r"first result after ([\d.]+) s")


@dataclass
class _Measured:
    status: int
    seconds: float
    first: float
    run: Run


def report(options: Options) -> int:
    """Run the suite, print where its time goes; return its exit status. Raises Trouble."""
    with cache.scratch() as name:
        nothing = Path(name, "test_nothing.py")
        nothing.write_text(_NOTHING)
        # Twice: the first may have to build a kernel, to boot a guest, or to compile.
        for _ in range(2):
            floor = _measure([*_flags(options), str(nothing)], Path(name, "events"))
            if floor.status:
                raise Trouble(f"a test that does nothing ends with status {floor.status}")
        chosen = _selection(options)
        suite = _measure([*_flags(options), *chosen], Path(name, "events"))
    profile = "host" if options.host else options.profile
    found = Timing(
        what=f"{profile}, kernel {suite.run.kernel}, seed {suite.run.seed}; {suite.run.summary()}",
        results=tuple(suite.run.results.values()),
        floor=floor.seconds,
        first=suite.first,
        whole=suite.seconds,
    )
    for line in lines(found):
        print(line)
    return suite.status


def _measure(arguments: list[str], events: Path) -> _Measured:
    """Run the command, its remarks passed on; wait for its end, which an interrupt brings."""
    started, first = time.monotonic(), 0.0
    with subprocess.Popen(
        [*mortal("TERM"), str(ROOT / "run_tests.py"), *arguments, "--events", str(events)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # Out of the terminal's reach: told twice, it would be interrupted as it tidies up.
        start_new_session=True,
    ) as process:
        assert process.stderr
        try:
            for line in process.stderr:
                say(line.rstrip("\n"))
                if found := _FIRST.search(line):
                    first = float(found[1])
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
    seconds = time.monotonic() - started
    run = replay(events.read_bytes().splitlines() if events.is_file() else [])
    if process.returncode not in (0, 1, 4):
        raise Trouble(f"run_tests.py ends with status {process.returncode}; see above")
    return _Measured(process.returncode, seconds, first, run)


def _flags(options: Options) -> list[str]:
    """Return the options that choose kernel and machine, as they are given."""
    if options.host:
        return ["--host"]
    words = ["--profile", options.profile]
    if options.kernel:
        words += ["--kernel", str(options.kernel)]
    if options.modules:
        words += ["--modules", str(options.modules)]
    if options.debian:
        words += ["--debian", options.debian]
    if options.tree:
        words += ["--tree", str(options.tree)]
    if options.apply_series:
        words += ["--apply-series"]
    if options.kmemleak in ("end", "module"):
        words += [f"--kmemleak={options.kmemleak}"]
    if not options.snapshot:
        words += ["--no-snapshot"]
    return words


def _selection(options: Options) -> list[str]:
    """Return the options and paths that choose tests, as they are given."""
    words = []
    for flag, value in (
        ("-k", options.keyword),
        ("-m", options.markers),
        ("--seed", options.seed),
        ("--timeout", options.timeout),
        ("-j", options.jobs),
    ):
        if value is not None:
            words += [flag, str(value)]
    return [*words, *options.paths]
