# SPDX-License-Identifier: GPL-2.0
"""A peer that sends a long stream over a link, and knows its checksum."""

import socket
import zlib
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from lib.child import Child, Hear, Say
from lib.far import Far
from lib.pattern import Pattern
from netns.dial import AnyLink
from netns.tcp import FAMILY

BLOCK = 1 << 20  # bytes that the stream repeats


class Streamer(Protocol):
    """The peer, which first sends some frames one by one, then the rest of the stream."""

    def connect(self, port: int) -> None:
        """To that port of the receiving end. Raises RuntimeError, or OSError."""

    def go_on(self) -> None:
        """Send the next single frame, or if there is none the rest."""

    def checksum(self) -> str:
        """CRC-32 of all that was sent, once it was. Raises RuntimeError, or OSError."""

    def __enter__(self) -> Self:
        """To be left when the stream is over."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Whatever has become of it."""


def streamer(link: AnyLink, family: int, singles: Sequence[int], length: int) -> Streamer:
    """The peer at the sending end of a link.

    singles: the bytes of each of the first frames. length: bytes of the whole stream.
    """
    if link.far is None:
        return _Near(link, family, singles, length)
    return _There(link.far, link.rx.address(family), family, singles, length)


class _Near(Child):
    """A process of this machine."""

    def __init__(self, link: AnyLink, family: int, singles: Sequence[int], length: int) -> None:
        self._link, self._family = link, family
        self._sizes, self._length = list(singles), length
        super().__init__(self._stream)

    def connect(self, port: int) -> None:
        self.say(str(port))
        self.expect("connected")

    def go_on(self) -> None:
        self.say("go on")

    def checksum(self) -> str:
        return self.hear()

    def _stream(self, say: Say, hear: Hear) -> None:
        block, sent, checksum = Pattern(1).slice(0, BLOCK), 0, 0
        with self._link.tx.ns.socket(FAMILY[self._family], socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect((self._link.rx.address(self._family), int(hear())))
            say("connected")
            sizes = [*self._sizes, BLOCK]
            while sent < self._length:
                if sizes:
                    hear()
                size = sizes.pop(0) if sizes else BLOCK
                piece = block[sent % BLOCK :][: min(size, self._length - sent)]
                sock.sendall(piece)
                checksum = zlib.crc32(piece, checksum)
                sent += len(piece)
        say(f"{checksum:08x}")


class _There:
    """The program on another host."""

    def __init__(
        self, far: Far, address: str, family: int, singles: Sequence[int], length: int
    ) -> None:
        self._far, self._address, self._family = far, address, family
        self._sizes, self._left = list(singles), length
        self._on = -1

    def connect(self, port: int) -> None:
        order: dict[str, Any] = {"address": self._address, "port": port, "family": self._family}
        source = self._far.source.get(self._family, "")
        order |= {"tag": Pattern(1).tag, "start": 0, "mss": 0}
        answer = self._far.ask(do="connect", source=source, **order)
        self._on = answer["on"]

    def go_on(self) -> None:
        if self._sizes:
            sent = self._far.ask(do="feed", on=self._on, length=self._sizes.pop(0))["sent"]
            self._left -= sent
        else:
            self._far.ask(do="stream", on=self._on, length=self._left)

    def checksum(self) -> str:
        return f"{self._far.ask(do='checksum', on=self._on)['checksum']:08x}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._on >= 0 and self._far.connected:
            self._far.ask(do="reset", on=self._on)
