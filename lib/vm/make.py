# SPDX-License-Identifier: GPL-2.0
"""Run a kernel's make with a progress bar, a log, and errors one can read."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from lib.say import say
from lib.trouble import Trouble

_STEP = re.compile(r"^  [A-Z][A-Z0-9 ]+ ")
_ERROR = re.compile(r"error|\*\*\*|undefined reference", re.IGNORECASE)
# Of a build from nothing, until a folder knows better.
_STEPS = 1950
# In a log, one line at most this often (s).
_LOG_EVERY = 30.0

Locks = tuple[int, ...]  # descriptors


def run(argv: list[str], env: dict[str, str], log: Path, steps: Path, held: Locks) -> None:
    """Run make with its output in `log`. Raises Trouble with the last errors.

    `steps` is a file that remembers how many steps the longest build took, which is what
    the progress bar goes by. The locks `held` are inherited by make:
    should this process be killed, nobody gets these locks before make is gone, too.
    """
    longest = 0
    with contextlib.suppress(OSError, ValueError):  # no such file, or none that was written whole
        longest = int(steps.read_text())
    with log.open("w") as out, _process(argv, env, held) as process:
        assert process.stdout
        done = 0
        for line in _progress(process.stdout, longest or _STEPS):
            out.write(line)
            done += bool(_STEP.match(line))
    if process.returncode:
        lines = log.read_text(errors="replace").splitlines()
        for line in list(filter(_ERROR.search, lines))[-12:]:
            say(f"make: {line}")
        raise Trouble(f"the kernel does not build (make: {process.returncode}); see {log}")
    if done > longest:
        with contextlib.suppress(OSError):
            steps.write_text(str(done))


@contextlib.contextmanager
def _process(argv: list[str], env: dict[str, str], held: Locks) -> Iterator[subprocess.Popen[str]]:
    """Run a command in a session of its own, all of which is killed on the way out."""
    process = subprocess.Popen(
        argv,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        pass_fds=held,
    )
    try:
        yield process
        process.wait()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def _progress(lines: Iterator[str], expected: int) -> Iterator[str]:
    """Pass lines through; show a bar in a terminal, now and then a line in a log."""
    if sys.stderr.isatty():
        with tqdm(total=expected, desc="kernel", unit="file", leave=False) as bar:
            for line in lines:
                if _STEP.match(line):
                    bar.update()
                yield line
        return
    done, shown = 0, time.monotonic()
    for line in lines:
        done += bool(_STEP.match(line))
        if time.monotonic() - shown > _LOG_EVERY:
            shown = time.monotonic()
            say(f"kernel: {done}{f' of {expected}' if done <= expected else ''} files")
        yield line
