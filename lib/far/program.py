# SPDX-License-Identifier: GPL-2.0
"""The other end's program: it connects and sends what it is told to, and touches nothing else.

Sent over ssh's stdin and never stored there, it needs Python 3.6 and imports nothing of ours. After
a first line, READY, it reads requests from stdin, each a line of JSON, and answers each with a line
of JSON on stdout: the result, or {"errno", "text"}. When stdin ends it ends, and the kernel closes
its sockets.

    hello    source        see that there are these addresses of each IP version
                           -> python, kernel: their versions there
    connect  address, port, source, family, mss, tag, start   -> on: the connection's number
    feed     on, length    send what fits of so many bytes of the pattern    -> sent
    stream   on, length    begin to send so many bytes of it, and then FIN   -> {}
    checksum on            wait until they are: CRC-32 of all that was sent  -> checksum
    urgent   on            send a byte out of band that is not the pattern's -> {}
    unacked  on            bytes that have not been acknowledged             -> left
    finish, reset  on      send FIN; RST                                     -> {}
"""

import array
import errno
import fcntl
import json
import os
import select
import socket
import struct
import sys
import termios
import threading
import zlib
from typing import Any, Dict, Optional  # noqa: UP035 - there may be no dict[] there

READY = "zctap-selftests far end 1"
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
PIECE = 1 << 18  # bytes that are made at a time
PATIENCE = 30  # seconds for a connection
Order = Dict[str, Any]  # noqa: UP006 - as above


class Stream:
    """The pattern of lib/pattern.py: 8-byte words, little-endian, of a number and a tag."""

    def __init__(self, tag: int, start: int) -> None:
        self.first = (tag << 32) + start
        self.offset = 0

    def ahead(self, length: int) -> memoryview:
        """The next bytes, so many at most."""
        length = min(length, PIECE)
        begin, end = self.offset // 8, (self.offset + length + 7) // 8
        words = array.array("Q", range(self.first + begin, self.first + end))
        if sys.byteorder == "big":
            words.byteswap()
        skip = self.offset - 8 * begin
        return memoryview(words).cast("B")[skip : skip + length]


class Sender:
    """A connection that we send on."""

    def __init__(self, order: Order) -> None:
        self.pattern = Stream(order["tag"], order["start"])
        self.crc = 0
        self.thread = threading.Thread()
        self.trouble: Optional[OSError] = None  # noqa: UP045 - as above
        self.sock = socket.socket(FAMILIES[order["family"]], socket.SOCK_STREAM)
        try:
            if order["mss"]:
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, order["mss"])
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if order["source"]:
                self.sock.bind((order["source"], 0))
            self.sock.settimeout(PATIENCE)
            self.sock.connect((order["address"], order["port"]))
            self.sock.setblocking(False)
        except OSError:
            self.sock.close()
            raise

    def feed(self, order: Order) -> Order:
        """As above."""
        left = order["length"]
        while left:
            piece = self.pattern.ahead(left)
            count = self.some(piece)
            left -= count
            if count < len(piece):
                break
        return {"sent": order["length"] - left}

    def some(self, piece: memoryview) -> int:
        """Send what fits of the next bytes: how many."""
        try:
            count = self.sock.send(piece)
        except BlockingIOError:
            return 0
        self.crc = zlib.crc32(piece[:count], self.crc)
        self.pattern.offset += count
        return count

    def stream(self, order: Order) -> Order:
        """As above."""
        self.thread = threading.Thread(target=self.send_all, args=(order["length"],), daemon=True)
        self.thread.start()
        return {}

    def send_all(self, left: int) -> None:
        """What the thread does."""
        try:
            while left:
                select.select([], [self.sock], [])
                left -= self.some(self.pattern.ahead(left))
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            self.trouble = error
        except ValueError:
            pass  # reset() has closed it

    def checksum(self, _order: Order) -> Order:
        """As above."""
        if self.thread.ident is not None:
            self.thread.join(PATIENCE)
        if self.thread.is_alive():
            raise socket.timeout  # noqa: UP041 - it is one since 3.10
        if self.trouble is not None:
            raise self.trouble
        return {"checksum": self.crc}

    def urgent(self, _order: Order) -> Order:
        """As above."""
        self.sock.send(b"!", socket.MSG_OOB)
        return {}

    def unacked(self, _order: Order) -> Order:
        """As above (SIOCOUTQ, tcp(7))."""
        answer = fcntl.ioctl(self.sock, termios.TIOCOUTQ, bytes(4))
        return {"left": struct.unpack("i", answer)[0]}

    def finish(self, _order: Order) -> Order:
        """As above."""
        self.sock.shutdown(socket.SHUT_WR)
        return {}

    def reset(self, _order: Order) -> Order:
        """As above."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
        return {}


class Far:
    """All connections, by their numbers."""

    def __init__(self) -> None:
        self.senders: Dict[int, Sender] = {}  # noqa: UP006 - as above

    def obey(self, order: Order) -> Order:
        """Carry out a request; its answer. Raises OSError."""
        if order["do"] == "hello":
            for family, address in order["source"].items():  # JSON's keys are strings
                with socket.socket(FAMILIES[int(family)], socket.SOCK_STREAM) as sock:
                    sock.bind((address, 0))
            python = ".".join(map(str, sys.version_info[:2]))
            return {"python": python, "kernel": os.uname().release}
        if order["do"] == "connect":
            number = len(self.senders)
            self.senders[number] = Sender(order)
            return {"on": number}
        sender = self.senders[order["on"]]
        obeyed: Order = getattr(sender, order["do"])(order)
        return obeyed


def main() -> None:
    """Obey until stdin ends."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # nothing else may get in between
    out.write(READY + "\n")
    out.flush()
    far = Far()
    for line in iter(sys.stdin.buffer.readline, b""):
        try:
            answer = far.obey(json.loads(line.decode()))
        except socket.timeout:  # noqa: UP041 - it is one since 3.10
            answer = {"errno": errno.ETIMEDOUT, "text": "timed out"}
        except OSError as error:
            answer = {"errno": error.errno or errno.EIO, "text": error.strerror or str(error)}
        out.write(json.dumps(answer) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
