# SPDX-License-Identifier: GPL-2.0
"""Making every CPU run its network receive softirq.

Since Linux 5.19 an skb that is freed on another CPU than it was allocated on may be parked there,
up to net.core.skb_defer_max (64) of them, until that CPU next runs net_rx_action()
(net/core/skbuff.c:skb_attempt_defer_free). A datagram over loopback, sent from that CPU, makes it
run: loopback queues to the sending CPU's own backlog.
"""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from lib.cpus import allowed, on_cpu
from lib.deadline import scaled

_DEFER_MAX = Path("/proc/sys/net/core/skb_defer_max")


@contextlib.contextmanager
def nothing_deferred() -> Iterator[None]:
    """Inside, no further skb free is deferred, in the whole system; restored afterwards.

    What is parked already stays so until it is flushed. On a kernel before 5.19 nothing is
    deferred anyway.
    """
    if not _DEFER_MAX.exists():
        yield
        return
    before = _DEFER_MAX.read_text()
    _DEFER_MAX.write_text("0")
    try:
        yield
    finally:
        _DEFER_MAX.write_text(before)


class Flusher:
    """Flushes deferred skb frees with a UDP socket bound to loopback, which it then owns.

    The socket's namespace must have `lo` up. Raises OSError.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        sock.bind(("127.0.0.1", 0))
        sock.connect(sock.getsockname())

    def flush(self) -> None:
        """Run the receive softirq on every CPU this thread may use, once each."""
        self._sock.settimeout(scaled(2.0))
        for cpu in allowed():
            with on_cpu(cpu):
                self._sock.send(b"flush")
                self._sock.recv(16)  # has come through net_rx_action() of that CPU

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()
