# SPDX-License-Identifier: GPL-2.0
"""QEMU's monitor, as much of it as is needed here."""

from __future__ import annotations

import json
import select
import socket
import time
from typing import Any


class QmpError(Exception):
    """QEMU refused a command, or is gone."""


class Monitor:
    """A QMP connection; events that come along are kept."""

    def __init__(self, sock: socket.socket) -> None:
        """Take over a connected socket."""
        self._sock = sock
        self._buffer = b""
        self.events: list[dict[str, Any]] = []

    def fileno(self) -> int:
        """For select()."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def greet(self, until: float) -> None:
        """Wait for the greeting and leave negotiation mode. Raises QmpError."""
        while "QMP" not in self._receive(until):
            pass
        self.command("qmp_capabilities", until)

    def command(self, name: str, until: float, /, **arguments: object) -> Any:
        """Run a command and return what it returns. Raises QmpError."""
        message = {"execute": name, "arguments": arguments}
        try:
            self._sock.sendall(json.dumps(message).encode() + b"\n")
        except OSError as err:
            raise QmpError(f"{name}: QEMU is gone") from err
        while True:
            answer = self._receive(until)
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise QmpError(f"{name}: {answer['error'].get('desc')}")

    def collect(self) -> None:
        """Read whatever events have come, without waiting."""
        try:
            while True:
                self._receive(time.monotonic())
        except QmpError:
            pass

    def _receive(self, until: float) -> dict[str, Any]:
        """Return the next message; an event is also kept. Raises QmpError."""
        while b"\n" not in self._buffer:
            wait = max(until - time.monotonic(), 0)
            if not select.select([self._sock], [], [], wait)[0]:
                raise QmpError("no answer from QEMU")
            try:
                piece = self._sock.recv(65536)
            except OSError as err:
                raise QmpError("QEMU is gone") from err
            if not piece:
                raise QmpError("QEMU is gone")
            self._buffer += piece
        line, self._buffer = self._buffer.split(b"\n", 1)
        message: dict[str, Any] = json.loads(line)
        if "event" in message:
            self.events.append(message)
        return message
