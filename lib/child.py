# SPDX-License-Identifier: GPL-2.0
"""A forked process that runs a function and talks with us: for tests of what exit and kill do.

def body(say, hear):           # in the child
    ...
    say("ready")
    hear()                     # blocks until the parent speaks, or is gone

with Child(body) as child:
    child.expect("ready")
    child.kill()
"""

import os
import signal
import socket
import traceback
from collections.abc import Callable
from typing import Self

from lib.deadline import scaled

Say = Callable[[str], None]
Hear = Callable[[], str]
_LIMIT = 65_536


class Child:
    """The process; it never returns into the caller's stack. `pid` until it has been reaped.

    It inherits every open descriptor and the network namespace of the calling thread.
    """

    def __init__(self, body: Callable[[Say, Hear], None]) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.status: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            self._run(body, theirs)
        theirs.close()

    def _run(self, body: Callable[[Say, Hear], None], channel: socket.socket) -> None:
        # os._exit() on every path: nothing of the parent's clean-up may run here.
        try:
            self._ours.close()
            body(
                lambda text: channel.sendall(text.encode()[:_LIMIT]),
                lambda: channel.recv(_LIMIT).decode(),
            )
            os._exit(0)
        except BaseException:
            try:
                channel.sendall(("!" + traceback.format_exc()).encode()[:_LIMIT])
            finally:
                os._exit(70)

    def hear(self, seconds: float = 5.0) -> str:
        """The next message; "" if the child has gone.

        Raises RuntimeError with the child's traceback if it failed, TimeoutError after
        scaled(seconds).
        """
        self._ours.settimeout(scaled(seconds))
        text = self._ours.recv(_LIMIT).decode()
        if text.startswith("!"):
            raise RuntimeError(f"in the child process:\n{text[1:]}")
        return text

    def expect(self, text: str) -> None:
        """Wait for that message."""
        seen = self.hear()
        if seen != text:
            raise AssertionError(f"the child said {seen!r}, expected {text!r}")

    def say(self, text: str) -> None:
        """Send the child a message."""
        self._ours.sendall(text.encode())

    def wait(self) -> int:
        """Reap the child: its wait status as os.waitstatus_to_exitcode() gives it."""
        if self.status is None:
            _, status = os.waitpid(self.pid, 0)
            self.status = os.waitstatus_to_exitcode(status)
        return self.status

    def finish(self) -> None:
        """Let the child go on to its end; AssertionError unless it exits with 0."""
        self.say("finish")
        trouble = self.hear()
        if self.wait() or trouble:
            raise AssertionError(f"the child exited with {self.status}, last word {trouble!r}")

    def kill(self) -> None:
        """SIGKILL and reap."""
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.kill()
        self._ours.close()
