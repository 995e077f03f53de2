# SPDX-License-Identifier: GPL-2.0
"""Run a host command; an error carries everything that is known about it."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from lib.trouble import Trouble


def mortal(signal: str) -> list[str]:
    """Return what to put before a command: it gets that signal when the thread that starts it ends.

    Not a preexec_fn, which is not safe where there are other threads.
    """
    return ["setpriv", "--pdeathsig", signal, "--"]


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    deadline: float = 600,
) -> bytes:
    """Run `argv` and return its stdout.

    `env` is added to the environment; `deadline` is in seconds. Raises Trouble with the
    command and the end of its stderr if it cannot be started, fails or takes too long.
    """
    words = [str(word) for word in argv]
    shown = shlex.join(words)
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            input=stdin if stdin is not None else b"",
            capture_output=True,
            timeout=deadline,
            check=False,
        )
    except FileNotFoundError as err:
        raise Trouble(f"{words[0]} is not installed (wanted for: {shown})") from err
    except subprocess.TimeoutExpired as err:
        raise Trouble(f"no end after {deadline:.0f} s: {shown}") from err
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise Trouble(f"exit status {done.returncode} from: {shown}: {' | '.join(said[-4:])}")
    return done.stdout
