# SPDX-License-Identifier: GPL-2.0
"""A TCP connection across a link, both ends in our hands, no thread and no process needed.

Both sockets are made in their namespaces and then used from anywhere. The sending end never
blocks: feed() puts in what fits, so that one thread can keep both ends going.
"""

import contextlib
import fcntl
import socket
import struct
import termios
from collections.abc import Callable, Iterator

from lib.deadline import wait_until
from lib.pattern import Pattern, Stream
from netns.link import End

_SO_RCVBUFFORCE = 33  # asm-generic/socket.h: as root, beyond net.core.rmem_max
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}


def unacknowledged(sock: socket.socket) -> int:
    """Bytes that the other end of a connection has not acknowledged yet (SIOCOUTQ, tcp(7))."""
    return int(struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0])


class Connection:
    """`tx` sends a pattern, `rx` is the socket under test. close() ends both."""

    def __init__(self, tx: socket.socket, rx: socket.socket, pattern: Pattern) -> None:
        self.tx, self.rx = tx, rx
        self.sent, self.check = Stream(pattern), Stream(pattern)
        tx.setblocking(False)

    def feed(self, length: int) -> int:
        """Send the next bytes of the pattern, as many of `length` as fit now; how many."""
        if length <= 0:
            return 0
        piece = self.sent.pattern.slice(self.sent.offset, length)
        try:
            count = self.tx.send(piece)
        except BlockingIOError:
            return 0
        self.sent.offset += count
        return count

    def send(self, length: int) -> None:
        """Send the next `length` bytes; waits for room. TimeoutError if there is never any."""
        left = length

        def done() -> bool:
            nonlocal left
            left -= self.feed(left)
            return left == 0

        wait_until(done, lambda: f"{left} of {length} bytes not taken by the sender", 10)

    def segments(self, *sizes: int) -> None:
        """Send each size as a segment of its own (as far as the MSS lets it be one)."""
        self.tx.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for size in sizes:
            self.send(size)

    def queued(self) -> int:
        """Bytes that lie in the receiving socket (SIOCINQ, tcp(7))."""
        answer = fcntl.ioctl(self.rx, termios.FIONREAD, bytes(4))
        return int(struct.unpack("i", answer)[0])

    @property
    def sending(self) -> bool:
        """Whether the sending end is open."""
        return self.tx.fileno() >= 0

    def urgent(self) -> None:
        """Send a byte that is not part of the pattern, out of band, behind what was sent."""
        self.tx.send(b"!", socket.MSG_OOB)

    def unacknowledged(self) -> int:
        """Bytes that the receiving end has not got yet."""
        return unacknowledged(self.tx)

    def acknowledged(self) -> bool:
        """Whether the receiving end has got all that was sent."""
        return self.unacknowledged() == 0

    def wait_queued(self, length: int) -> None:
        """Wait until at least so many bytes lie in the receiving socket."""
        wait_until(
            lambda: self.queued() >= length,
            lambda: f"{self.queued()} of {length} bytes arrived",
            5,
        )

    def read(self, length: int) -> None:
        """Read `length` bytes with recv(2) and check that they come next in the stream."""
        left = length
        self.rx.settimeout(30)
        while left:
            data = self.rx.recv(left)
            if not data:
                raise AssertionError(f"end of stream, {left} of {length} bytes missing")
            self.check.check(data)
            left -= len(data)

    def finish(self) -> None:
        """Send FIN behind what was sent."""
        self.tx.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Send RST (SO_LINGER with a time of 0, then close)."""
        self.tx.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.tx.close()

    def close(self) -> None:
        """Close both ends. The sender's goes with RST, so no TIME_WAIT is left anywhere."""
        if self.sending:
            self.reset()
        self.rx.close()


@contextlib.contextmanager
def listening(
    rx: End,
    family: int,
    rcvbuf: int | None = None,
    steer: Callable[[int], None] | None = None,
) -> Iterator[socket.socket]:
    """A socket that listens at that end for one connection; the arguments are across()'s."""
    with rx.ns.socket(FAMILY[family], socket.SOCK_STREAM) as listener:
        if rcvbuf is not None:  # before listen(): the window scale is agreed on in the SYN
            listener.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, rcvbuf)
        listener.bind((rx.address(family), 0))
        listener.listen(1)
        if steer is not None:
            steer(listener.getsockname()[1])
        yield listener


def across(
    tx: End,
    rx: End,
    pattern: Pattern,
    family: int = 4,
    *,
    mss: int | None = None,
    rcvbuf: int | None = None,
    steer: Callable[[int], None] | None = None,
) -> Connection:
    """A connection between two ends that reach each other, over IPv4 or IPv6 (4, 6).

    mss: bytes a segment, TCP options included (TCP_MAXSEG). rcvbuf: the receiver's SO_RCVBUF,
    which switches its automatic growth off. steer: called with the receiving port before the
    first frame. Raises OSError.
    """
    with listening(rx, family, rcvbuf, steer) as listener:
        sender = tx.ns.socket(FAMILY[family], socket.SOCK_STREAM)
        try:
            if mss is not None:
                sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, mss)
            # One piece is never held back for the acknowledgement of the one before.
            sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sender.settimeout(30)
            sender.connect(listener.getsockname())
            receiver, _ = listener.accept()
        except BaseException:
            sender.close()
            raise
    return Connection(sender, receiver, pattern)
