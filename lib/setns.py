# SPDX-License-Identifier: GPL-2.0
"""Going into another network namespace, with the calling thread alone.

os.setns() and os.unshare() came with Python 3.12.
"""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_OWN = "/proc/thread-self/ns/net"
NAMED = Path("/run/netns")  # where ip-netns(8) keeps those that have a name


def _check(result: int, what: str) -> None:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def own_fd() -> int:
    """A descriptor of the namespace that the calling thread is in."""
    return os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)


@contextlib.contextmanager
def _back_afterwards() -> Iterator[None]:
    home = own_fd()
    try:
        yield
    finally:
        # Not getting back would send everything that follows to the wrong place.
        _check(_libc.setns(home, _CLONE_NEWNET), "setns, on the way back")
        os.close(home)


@contextlib.contextmanager
def entered(fd: int, name: str) -> Iterator[None]:
    """Inside, the calling thread is in the namespace of that descriptor. Raises OSError."""
    with _back_afterwards():
        _check(_libc.setns(fd, _CLONE_NEWNET), f"setns to {name}")
        yield


def new_fd() -> int:
    """A descriptor of a new namespace, which lives as long as it is held. Raises OSError."""
    with _back_afterwards():
        _check(_libc.unshare(_CLONE_NEWNET), "unshare(CLONE_NEWNET)")
        return own_fd()


def open_named(name: str) -> int:
    """A descriptor of a namespace that somebody has made: its name, or a path.

    Raises OSError: ENOENT, EPERM.
    """
    return os.open(NAMED / name, os.O_RDONLY | os.O_CLOEXEC)
