# SPDX-License-Identifier: GPL-2.0
"""Run a host command; an error carries everything that is known about it."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from lib.trouble import Trouble

_TIDYING = 5.0  # s


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
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except FileNotFoundError as err:
        raise Trouble(f"{words[0]} is not installed (wanted for: {shown})") from err
    with process:
        try:
            stdout, stderr = process.communicate(stdin or b"", deadline)
        except subprocess.TimeoutExpired as err:
            _end(process)
            raise Trouble(f"no end after {deadline:.0f} s: {shown}") from err
        except BaseException:
            _end(process)
            raise
    if process.returncode:
        said = (stderr or stdout).decode(errors="replace").strip().splitlines()
        raise Trouble(f"exit status {process.returncode} from: {shown}: {' | '.join(said[-4:])}")
    return stdout


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command; it may tidy up first, as git does with its locks."""
    process.terminate()
    try:
        process.wait(_TIDYING)
    except subprocess.TimeoutExpired:
        process.kill()
