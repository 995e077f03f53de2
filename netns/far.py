# SPDX-License-Identifier: GPL-2.0
"""The other end of a link on another host, reached over ssh: far_end.py runs there.

with Far(ssh("root@peer.example")) as far:
    connection = across(far, rx, pattern)      # a Connection, as netns.tcp has it
    connection.send(1000)
"""

import contextlib
import json
import os
import select
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lib.deadline import scaled
from lib.pattern import Pattern, Stream
from netns import far_end
from netns.link import End
from netns.namespace import Namespace
from netns.tcp import Connection, listening

_SOURCE = Path(__file__).with_name("far_end.py")
_NOISE = 1 << 16  # bytes that shells and banners may say before our program does
_SSH = ("ssh", "-T", "-oBatchMode=yes", "-oConnectTimeout=20", "-oServerAliveInterval=5")


class FarLost(Exception):
    """Nobody answers at the other end; the text says what ssh has said."""


Command = Callable[[str], list[str]]  # what runs Python code, with our stdin and stdout


def ssh(destination: str) -> Command:
    """On that host, by its python3."""
    return lambda code: [*_SSH, "--", destination, f"python3 -c {shlex.quote(code)}"]


def here(code: str) -> list[str]:
    """On this machine."""
    return [sys.executable, "-c", code]


class Far:
    """The program at the other end, started when it is first asked, and again once it is lost.

    source: IP version -> the address to connect from. ns: where to run the command.
    """

    def __init__(
        self, command: Command, source: Mapping[int, str], ns: Namespace | None = None
    ) -> None:
        self._command, self.source, self._ns = command, source, ns
        self.starts = 0  # how often it has been started: with each its connections have gone
        self._process: subprocess.Popen[bytes] | None = None
        self._said = b""

    def fds(self) -> int:
        """How many descriptors it holds."""
        return 3 if self._process else 0

    def ask(self, **order: Any) -> dict[str, Any]:
        """Ask for something, see far_end.py: the answer.

        Raises OSError with the errno of there, FarLost.
        """
        process = self._process or self._start()
        assert process.stdin
        try:
            process.stdin.write(json.dumps(order).encode() + b"\n")
            process.stdin.flush()
        except OSError as error:
            raise self._lost(f"{error.strerror}") from error
        line = self._line(far_end.PATIENCE + scaled(5))
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:
            raise self._lost(f"it says {line[:200]!r}") from None
        if "errno" in answer:
            raise OSError(answer["errno"], f"at the other end: {answer['text']}")
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        source = _SOURCE.read_bytes()
        # What comes after the program is for it to read.
        code = f"import sys; exec(sys.stdin.buffer.read({len(source)}))"
        command = self._command(code)
        with self._ns.entered() if self._ns else contextlib.nullcontext():
            try:
                self._process = process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                )
            except OSError as error:
                raise FarLost(f"{command[0]}: {error.strerror}") from error
        assert process.stdin and process.stdout
        self._said = b""
        self.starts += 1
        try:
            process.stdin.write(source)
            process.stdin.flush()
        except OSError as error:
            raise self._lost(f"{error.strerror}") from error
        noise = 0
        while (line := self._line(scaled(20) + 20)) != far_end.READY.encode():
            noise += len(line)
            if noise > _NOISE:
                raise self._lost("it says a lot, and not what our program says")
        return process

    def _line(self, seconds: float) -> bytes:
        """The next line from there. Raises FarLost, also after so many seconds."""
        assert self._process and self._process.stdout
        fd, until = self._process.stdout.fileno(), time.monotonic() + seconds
        while b"\n" not in self._said:
            ready, _, _ = select.select([fd], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise self._lost(f"no answer within {seconds:.0f} s")
            piece = os.read(fd, 1 << 16)
            if not piece:
                raise self._lost("the connection has ended")
            self._said += piece
        line, _, self._said = self._said.partition(b"\n")
        return line

    def _lost(self, why: str) -> FarLost:
        """End it, so that the next who asks starts another; what to raise."""
        process, self._process = self._process, None
        assert process
        process.kill()
        _, said = process.communicate()
        text = said.decode(errors="replace").strip()
        last = f": {text.splitlines()[-1]}" if text else ""
        return FarLost(f"the other end: {why}{last}")

    def close(self) -> None:
        """End the program there. Harmless when repeated."""
        process, self._process = self._process, None
        if process is None:
            return
        with process:
            process.kill()
            for pipe in (process.stdin, process.stdout, process.stderr):
                assert pipe
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def __enter__(self) -> "Far":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class FarConnection(Connection):
    """A connection whose sending end is there. It has no `tx`."""

    def __init__(self, far: Far, number: int, rx: socket.socket, pattern: Pattern) -> None:
        self._far, self._on, self._start, self.rx = far, number, far.starts, rx
        self.sent, self.check = Stream(pattern), Stream(pattern)
        self._open = True

    def _ask(self, what: str, **more: Any) -> dict[str, Any]:
        if self._start != self._far.starts:
            raise FarLost("the other end was lost, and its connections with it")
        return self._far.ask(do=what, on=self._on, **more)

    @property
    def sending(self) -> bool:
        """As Connection."""
        return self._open

    def feed(self, length: int) -> int:
        """As Connection."""
        if length <= 0:
            return 0
        count: int = self._ask("feed", length=length)["sent"]
        self.sent.offset += count
        return count

    def segments(self, *sizes: int) -> None:
        """As Connection; the sending end never waits for more to send."""
        for size in sizes:
            self.send(size)

    def urgent(self) -> None:
        """As Connection."""
        self._ask("urgent")

    def unacknowledged(self) -> int:
        """As Connection."""
        return int(self._ask("unacked")["left"])

    def finish(self) -> None:
        """As Connection."""
        self._ask("finish")

    def reset(self) -> None:
        """As Connection."""
        self._open = False
        self._ask("reset")

    def close(self) -> None:
        """As Connection. If the other end is lost its socket is gone, too."""
        if self._open:
            with contextlib.suppress(FarLost, OSError):
                self.reset()
        self.rx.close()


def across(
    far: Far,
    rx: End,
    pattern: Pattern,
    family: int,
    *,
    mss: int | None = None,
    rcvbuf: int | None = None,
    steer: Callable[[int], None] | None = None,
) -> FarConnection:
    """As netns.tcp.across(), from there. Raises OSError, FarLost."""
    with listening(rx, family, rcvbuf, steer) as listener:
        address, port = listener.getsockname()[:2]
        answer = far.ask(
            do="connect",
            address=address,
            port=port,
            source=far.source.get(family, ""),
            family=family,
            mss=mss or 0,
            tag=pattern.tag,
            start=pattern.start,
        )
        listener.settimeout(30)
        receiver, _ = listener.accept()
    return FarConnection(far, answer["on"], receiver, pattern)
