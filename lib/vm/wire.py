# SPDX-License-Identifier: GPL-2.0
"""The host's end of the agent's channel: frames with deadlines (see lib/vm/agent.py)."""

from __future__ import annotations

import json
import select
import socket
import struct
import time
from typing import Any

HEADER = struct.Struct(">cI")
_PIECE = 1 << 16
# A frame is a piece of output or a small JSON object; more is a guest gone mad.
_LIMIT = 1 << 24


class Silence(Exception):
    """Nothing came before the deadline."""


class Closed(Exception):
    """The other end is gone, or sends what is no frame."""


class Wire:
    """Frames over a connected stream socket. Times are of time.monotonic(), in seconds."""

    def __init__(self, sock: socket.socket) -> None:
        """Take over `sock`."""
        self._sock = sock
        self._buffer = bytearray()

    def fileno(self) -> int:
        """For select()."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def send(self, letter: bytes, payload: bytes, until: float) -> None:
        """Send a frame. Raises Silence, Closed."""
        self._sock.settimeout(max(until - time.monotonic(), 0.001))
        try:
            self._sock.sendall(HEADER.pack(letter, len(payload)) + payload)
        except TimeoutError as err:
            raise Silence from err
        except OSError as err:
            raise Closed from err

    def request(self, until: float, **fields: object) -> None:
        """Send a JSON object. Raises Silence, Closed."""
        self.send(b"J", json.dumps(fields).encode(), until)

    def put(self, data: bytes, until: float) -> None:
        """Send an archive in pieces. Raises Silence, Closed."""
        for start in range(0, len(data), _PIECE):
            self.send(b"D", data[start : start + _PIECE], until)
        self.send(b"D", b"", until)

    def get(self, until: float) -> bytes:
        """Return the archive that goes with an answer. Raises Silence, Closed."""
        pieces: list[bytes] = []
        while True:
            letter, payload = self.receive(until)
            if letter != b"D" or not payload:
                return b"".join(pieces)
            pieces.append(payload)

    def receive(self, until: float) -> tuple[bytes, bytes]:
        """Return the next frame's letter and payload. Raises Silence, Closed."""
        while True:
            if frame := self._take():
                return frame
            timeout = max(until - time.monotonic(), 0)
            if not select.select([self._sock], [], [], timeout)[0]:
                raise Silence
            try:
                piece = self._sock.recv(_PIECE)
            except OSError as err:
                raise Closed from err
            if not piece:
                raise Closed
            self._buffer += piece

    def answer(self, kind: str, until: float) -> dict[str, Any]:
        """Return the next JSON object, which must be a `kind`. Raises Silence, Closed.

        Output of a command that is still under way is dropped.
        """
        while True:
            letter, payload = self.receive(until)
            if letter == b"J":
                answer = parse(payload)
                if answer.get("is") == kind:
                    return answer
                if answer.get("is") == "error":
                    raise Closed(answer.get("text", ""))

    def _take(self) -> tuple[bytes, bytes] | None:
        """Return a complete frame from the buffer, if there is one. Raises Closed."""
        if len(self._buffer) < HEADER.size:
            return None
        letter, size = HEADER.unpack_from(self._buffer)
        if letter not in b"JEOD" or size > _LIMIT:
            raise Closed(f"no frame: {bytes(self._buffer[:16])!r}")
        end = HEADER.size + size
        if len(self._buffer) < end:
            return None
        payload = bytes(self._buffer[HEADER.size : end])
        del self._buffer[:end]
        return letter, payload


def parse(payload: bytes) -> dict[str, Any]:
    """Return a JSON object. Raises Closed for anything else."""
    try:
        value = json.loads(payload)
    except ValueError as err:
        raise Closed(f"no JSON: {payload[:80]!r}") from err
    if not isinstance(value, dict):
        raise Closed(f"no JSON object: {payload[:80]!r}")
    return value
