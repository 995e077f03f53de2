# SPDX-License-Identifier: GPL-2.0
"""A peer that sends a long stream over a link, and knows its checksum."""

import socket
import zlib
from collections.abc import Sequence

from lib.child import Child, Hear, Say
from lib.pattern import Pattern
from netns.link import Link
from netns.tcp import FAMILY

BLOCK = 1 << 20  # bytes that the stream repeats


class Streamer(Child):
    """A process at the sending end: some frames one by one, then the rest of the stream.

    singles: the bytes of each of those frames. length: bytes of the whole stream.
    """

    def __init__(self, link: Link, family: int, singles: Sequence[int], length: int) -> None:
        self._link, self._family = link, family
        self._sizes, self._length = list(singles), length
        super().__init__(self._stream)

    def connect(self, port: int) -> None:
        """To that port of the receiving end."""
        self.say(str(port))

    def go_on(self) -> None:
        """Send the next single frame, or if there is none the rest."""
        self.say("go on")

    def checksum(self) -> str:
        """CRC-32 of all that was sent, once it was; what a child raises is raised here."""
        return self.hear()

    def _stream(self, say: Say, hear: Hear) -> None:
        block, sent, checksum = Pattern(1).slice(0, BLOCK), 0, 0
        with self._link.tx.ns.socket(FAMILY[self._family], socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect((self._link.rx.address(self._family), int(hear())))
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
