# SPDX-License-Identifier: GPL-2.0
"""A file that is only appended to: JSON objects, one a line, each behind its CRC-32.

What append() has returned from is on the disk. A process that is killed while it writes leaves at
most a last line without an end: nobody has acted on it, and it is taken away. A bad line elsewhere
means that somebody else has been at the file.
"""

import contextlib
import json
import os
import zlib
from pathlib import Path
from typing import Any

from lib.trouble import Trouble

Line = dict[str, Any]


class Log:
    """An open file. `lines` are the good ones, `bad` the numbers of the others, from 1."""

    def __init__(self, path: Path, fd: int, size: int = 0) -> None:
        self.path, self._fd, self._size = path, fd, size
        self.lines: list[Line] = []
        self.bad: list[int] = []

    @classmethod
    def create(cls, path: Path, header: Line) -> "Log":
        """Make a new file with one line in it. Raises Trouble."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Trouble(f"cannot create {path}: {error.strerror}") from error
        log = cls(path, fd)
        try:
            log.append(header)
            _sync_folder(path.parent)
        except BaseException:
            log.remove()
            raise
        return log

    @classmethod
    def open(cls, path: Path) -> "Log":
        """Read a file and go on with it; for who has it alone. Raises Trouble."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            data = path.read_bytes()
        except OSError as error:
            raise Trouble(f"cannot read {path}: {error.strerror}") from error
        whole = data.rfind(b"\n") + 1
        log = cls(path, fd, whole)
        for number, text in enumerate(data[:whole].splitlines(), 1):
            line = _parsed(text)
            if line is None:
                log.bad.append(number)
            else:
                log.lines.append(line)
        os.ftruncate(fd, whole)
        return log

    def append(self, line: Line) -> None:
        """Write a line, and see that it is on the disk. Raises Trouble, having written nothing."""
        text = json.dumps(line, sort_keys=True).encode()
        data = b"%08x %s\n" % (zlib.crc32(text), text)
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(self._fd, data[written:], self._size + written)
            os.fsync(self._fd)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._size)
            raise Trouble(f"cannot write {self.path}: {error.strerror}") from error
        self._size += len(data)
        self.lines.append(line)

    def remove(self) -> None:
        """Take the file away, for good."""
        self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            _sync_folder(self.path.parent)
        self.close()

    def close(self) -> None:
        """Let go of it. Harmless when repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def header(path: Path) -> Line | None:
    """The first line of somebody's file, None if it has none that is good. Raises OSError."""
    with path.open("rb") as file:
        return _parsed(file.readline().rstrip(b"\n"))


def _parsed(text: bytes) -> Line | None:
    checksum, _, json_text = text.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(json_text):
        return None
    try:
        line = json.loads(json_text)
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) else None


def _sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
