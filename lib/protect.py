# SPDX-License-Identifier: GPL-2.0
"""Memory that cannot be reached for a while (mprotect(2))."""

import contextlib
import ctypes
import os
from collections.abc import Iterator

NONE, READ, READ_WRITE = 0, 1, 3  # PROT_*

_mprotect = ctypes.CDLL(None, use_errno=True)["mprotect"]
_mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def _protect(addr: int, size: int, access: int) -> None:
    if _mprotect(addr, size, access):
        error = ctypes.get_errno()
        raise OSError(error, f"mprotect: {os.strerror(error)}")


@contextlib.contextmanager
def protected(addr: int, size: int, access: int = NONE) -> Iterator[None]:
    """Inside, these pages have that access only; READ_WRITE afterwards. Raises OSError."""
    _protect(addr, size, access)
    try:
        yield
    finally:
        _protect(addr, size, READ_WRITE)
