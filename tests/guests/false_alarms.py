#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Does the suite ever fail on a kernel that is right? Whole runs, over random seeds.

Usage: tests/guests/false_alarms.py RUNS [--load] [ARGUMENT...], in the runner's virtual
environment. What else is given goes to run_tests.py: `--profile debug`, `-j 1`, tests. With --load
as many processes as there are processors do nothing else meanwhile, as fast as they can. A line a
run, with what failed; exit status 0 if nothing ever did, 2 for bad usage, or no kernel to test.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _spin(parent: int) -> None:
    while os.getppid() == parent:
        sum(range(100_000))


@contextlib.contextmanager
def load(on: bool) -> Iterator[None]:
    """Inside, every processor is busy."""
    count = (os.cpu_count() or 1) if on else 0
    spinning = [multiprocessing.Process(target=_spin, args=(os.getpid(),)) for _ in range(count)]
    for process in spinning:
        process.start()
    try:
        yield
    finally:
        for process in spinning:
            process.kill()


def whole_run(seed: int, arguments: list[str]) -> tuple[int, str]:
    """Run the suite; return its exit status, and what it comes to."""
    command = [sys.executable, str(ROOT / "run_tests.py"), "--seed", str(seed), *arguments]
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    lines = (run.stdout + run.stderr).splitlines()
    failures = [line for line in lines if line.startswith("failed: ")]
    fallback = lines[-1] if lines else "it said nothing"
    summary = next((line for line in reversed(lines) if " passed" in line), fallback)
    return run.returncode, "; ".join([summary, *failures])


def main() -> int:
    """Run them all; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=int)
    parser.add_argument("--load", action="store_true")
    options, arguments = parser.parse_known_args()
    bad = 0
    with load(options.load):
        for number in range(1, options.runs + 1):
            seed, began = random.getrandbits(31), time.strftime("%H:%M:%S")
            status, what = whole_run(seed, arguments)
            if status == 2 and number == 1:  # bad usage, or no kernel: it would be so each time
                print(what, file=sys.stderr)
                return 2
            bad += bool(status)
            print(
                f"{number} {began} seed {seed}: {'NOT GREEN: ' if status else ''}{what}", flush=True
            )
    print(f"{bad} of {options.runs} runs not green")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
