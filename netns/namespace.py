# SPDX-License-Identifier: GPL-2.0
"""Network namespaces without a name: they live as long as someone holds them.

Nothing is mounted under /run/netns, so nothing is left behind when a run is killed: the kernel
takes a namespace apart when the last descriptor, socket and process in it are gone. To look
inside from a shell: nsenter --net=/proc/PID/fd/FD (both are in str(namespace)).
"""

import contextlib
import os
import socket
from collections.abc import Iterator

from lib import setns


class Namespace:
    """A network namespace, held by one descriptor: a new one, unless one is given.

    Raises OSError (EPERM) without root. Entering concerns the calling thread alone; sockets stay
    in the namespace they were made in.
    """

    def __init__(self, name: str, fd: int = -1) -> None:
        self.name = name
        self.fd = setns.new_fd() if fd < 0 else fd

    @classmethod
    def here(cls) -> "Namespace":
        """The one that the calling thread is in."""
        return cls("here", setns.own_fd())

    @classmethod
    def named(cls, name: str) -> "Namespace":
        """One that somebody has made: its name, or a path. Raises OSError."""
        return cls(name, setns.open_named(name))

    @contextlib.contextmanager
    def entered(self) -> Iterator["Namespace"]:
        """Inside, the calling thread is in this namespace; back in its own afterwards."""
        with setns.entered(self.fd, self.name):
            yield self

    def socket(self, family: int, kind: int, proto: int = 0) -> socket.socket:
        """A socket of this namespace, to be used from anywhere."""
        with self.entered():
            return socket.socket(family, kind, proto)

    def close(self) -> None:
        """Let go of it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __str__(self) -> str:
        return f"{self.name} (/proc/{os.getpid()}/fd/{self.fd})"
