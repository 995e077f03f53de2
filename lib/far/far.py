# SPDX-License-Identifier: GPL-2.0
"""The other end on another host, reached over ssh: program.py runs there, and is asked.

with Far(ssh("root@peer.example")) as far:
    far.hello()                                # {"python": "3.11", "kernel": "6.1.0-50-amd64"}
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

from lib import setns
from lib.deadline import scaled
from lib.far import program

_SOURCE = Path(__file__).with_name("program.py")
_ATTEMPTS = 3
_LOOK = 1.0  # seconds of silence after which the card is looked at
# An attempt that fails so fast is repeated: who was not found while the card had no carrier is
# unreachable for a few seconds more.
_QUICK = 5.0
_ENDED = "the connection has ended"
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

    source: IP version -> the address to connect from. netns: a descriptor of the network namespace
    to run the command in. silence: why nothing can come from there, "" if it can; for then nobody
    waits for it.
    """

    def __init__(
        self,
        command: Command,
        source: Mapping[int, str] | None = None,
        netns: int = -1,
        silence: Callable[[], str] = str,
    ) -> None:
        self._command, self.source, self._netns = command, source or {}, netns
        self._silence = silence
        self._failed = 0  # starts in a row
        self.starts = 0  # how often it has been started: with each its connections have gone
        self._process: subprocess.Popen[bytes] | None = None
        self._said = b""

    @property
    def connected(self) -> bool:
        """Whether the program runs there, for all we know."""
        return self._process is not None

    def fds(self) -> int:
        """How many descriptors it holds."""
        return 3 if self._process else 0

    def ask(self, **order: Any) -> dict[str, Any]:
        """Ask for something, see program.py: the answer.

        Raises OSError with the errno of there, FarLost.
        """
        process = self._process or self._start_again()
        self._say(process, json.dumps(order).encode() + b"\n")
        line = self._line(program.PATIENCE + scaled(5))
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:
            raise self._lost(f"it says {line[:200]!r}") from None
        if "errno" in answer:
            raise OSError(answer["errno"], f"at the other end: {answer['text']}")
        return answer

    def hello(self) -> dict[str, Any]:
        """See that the other end answers, and has its addresses; what it says of itself.

        Raises OSError, FarLost.
        """
        return self.ask(do="hello", source=self.source)

    def reach(self, address: str, ifname: str) -> None:
        """Connect to an address of ours from there: the packets have to come in by that interface.

        Raises OSError (ECONNREFUSED: they come in by another one), FarLost.
        """
        family = 6 if ":" in address else 4
        with socket.socket(program.FAMILIES[family], socket.SOCK_STREAM) as listener:
            # Others find nobody who listens at that port.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, os.fsencode(ifname))
            listener.bind((address, 0))
            listener.listen(1)
            order = {"address": address, "port": listener.getsockname()[1], "family": family}
            source = self.source.get(family, "")
            number = self.ask(do="connect", source=source, mss=0, tag=0, start=0, **order)["on"]
            self.ask(do="reset", on=number)

    def _start_again(self) -> subprocess.Popen[bytes]:
        """Start it, if there is hope: each vain attempt may take most of a minute."""
        if self._failed >= _ATTEMPTS:
            raise FarLost(f"the other end: given up after {_ATTEMPTS} attempts to reach it")
        self._failed += 1
        begun = time.monotonic()
        try:
            process = self._start()
        except FarLost:
            if self._silence():
                self._failed = 0  # nothing is said by that of what is at the other end
                raise
            if time.monotonic() - begun > _QUICK or self._failed >= _ATTEMPTS:
                raise
            return self._start_again()
        self._failed = 0
        return process

    def _start(self) -> subprocess.Popen[bytes]:
        source = _SOURCE.read_bytes()
        # What comes after the program is for it to read.
        code = f"import sys; exec(sys.stdin.buffer.read({len(source)}))"
        command = self._command(code)
        there = contextlib.nullcontext() if self._netns < 0 else setns.entered(self._netns, "")
        with there:
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
        self._said = b""
        self.starts += 1
        self._say(process, source)
        noise = 0
        while (line := self._line(scaled(20) + 20)) != program.READY.encode():
            noise += len(line)
            if noise > _NOISE:
                raise self._lost("it says a lot, and not what our program says")
        return process

    def _say(self, process: subprocess.Popen[bytes], what: bytes) -> None:
        assert process.stdin
        try:
            process.stdin.write(what)
            process.stdin.flush()
        except BrokenPipeError as error:
            # Who ends is found out by writing or by reading, whichever is first.
            raise self._lost(_ENDED) from error

    def _line(self, seconds: float) -> bytes:
        """The next line from there. Raises FarLost, also after so many seconds."""
        assert self._process and self._process.stdout
        fd, until = self._process.stdout.fileno(), time.monotonic() + seconds
        while b"\n" not in self._said:
            left = max(0.0, until - time.monotonic())
            ready, _, _ = select.select([fd], [], [], min(left, _LOOK))
            if not ready:
                if why := self._silence():
                    raise self._lost(why)
                if left <= _LOOK:
                    raise self._lost(f"no answer within {seconds:.0f} s")
                continue
            piece = os.read(fd, 1 << 16)
            if not piece:
                raise self._lost(_ENDED)
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
