# SPDX-License-Identifier: GPL-2.0
"""A program's stdin, stdout and stderr: there, fit for any text, and written out at its end.

Standard library only.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TextIO

from lib.say import say

_complained = False


def make_sure() -> None:
    """Have descriptors 0 to 2, and streams that can print whatever a kernel says."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest that is free is this one. Who comes after execve() wants it, too.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    # None, says Python, if there was no descriptor.
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def written_out(status: int) -> int:
    """Write out what is kept back; return the exit status, which is not 0 if that fails.

    Python would try again at its end, and make 120 of it: a verdict to `git bisect run`.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError) as err:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1 if stream is sys.stdout else 2)
            if stream is sys.stdout:
                complain(err)
                status = 2 if status in (0, 4) else status
    return status


def complain(err: Exception) -> None:
    """Say why stdout cannot be written to, once; who has stopped to read knows."""
    global _complained
    if isinstance(err, OSError) and err.errno != errno.EPIPE and not _complained:
        _complained = True
        say(f"run_tests.py: cannot write to stdout: {err.strerror}")


class Unwritable(Exception):
    """Nobody gets to see a report any more. Not an OSError: those may be a guest's."""


class Report:
    """The stream that a report goes to. With the first failure it ends, and so does the run."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.error: OSError | None = None
        self.closing = False  # what is written now is only the rest

    def write(self, text: str) -> int:
        """Write it. Raises Unwritable, once."""
        if not self.error:
            try:
                self._out.write(text)
            except OSError as err:
                self._fail(err)
        return len(text)

    def flush(self) -> None:
        """Write out what is kept back. Raises Unwritable, once."""
        if not self.error:
            try:
                self._out.flush()
            except OSError as err:
                self._fail(err)

    def _fail(self, err: OSError) -> None:
        self.error = err
        if not self.closing:
            raise Unwritable from err
