# SPDX-License-Identifier: GPL-2.0
"""Network namespaces without a name: they live as long as someone holds them.

Nothing is mounted under /run/netns, so nothing is left behind when a run is killed: the kernel
takes a namespace apart when the last descriptor, socket and process in it are gone. To look
inside from a shell: nsenter --net=/proc/PID/fd/FD (both are in str(namespace)).
"""

import contextlib
import ctypes
import os
import socket
from collections.abc import Iterator

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)  # os.setns() and os.unshare() came with Python 3.12
_OWN = "/proc/thread-self/ns/net"


def _check(result: int, what: str) -> None:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def _own_fd() -> int:
    return os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)


@contextlib.contextmanager
def _back_afterwards() -> Iterator[None]:
    home = _own_fd()
    try:
        yield
    finally:
        # Not getting back would send everything that follows to the wrong place.
        _check(_libc.setns(home, _CLONE_NEWNET), "setns, on the way back")
        os.close(home)


class Namespace:
    """A new network namespace, held by one descriptor. Raises OSError (EPERM) without root.

    Entering concerns the calling thread alone; sockets stay in the namespace they were made in.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        with _back_afterwards():
            _check(_libc.unshare(_CLONE_NEWNET), "unshare(CLONE_NEWNET)")
            self.fd = _own_fd()

    @contextlib.contextmanager
    def entered(self) -> Iterator["Namespace"]:
        """Inside, the calling thread is in this namespace; back in its own afterwards."""
        with _back_afterwards():
            _check(_libc.setns(self.fd, _CLONE_NEWNET), f"setns to {self.name}")
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
