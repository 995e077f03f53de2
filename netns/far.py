# SPDX-License-Identifier: GPL-2.0
"""A TCP connection whose sending end is on another host."""

import contextlib
import socket
from collections.abc import Callable
from typing import Any

from lib.far import Far, FarLost
from lib.pattern import Pattern, Stream
from netns.link import End
from netns.tcp import Connection, listening


class FarConnection(Connection):
    """A connection whose sending end is there. It has no `tx`."""

    def __init__(self, far: Far, number: int, rx: socket.socket, pattern: Pattern) -> None:
        self._far, self._on, self._start, self.rx = far, number, far.starts, rx
        self.sent, self.check = Stream(pattern), Stream(pattern)
        self._open = True

    def _ask(self, what: str, **more: Any) -> dict[str, Any]:
        if self._start != self._far.starts or not self._far.connected:
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
