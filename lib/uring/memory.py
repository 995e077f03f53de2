# SPDX-License-Identifier: GPL-2.0
"""Page-aligned memory that can be shared with the kernel, and the addresses of Python buffers."""

import ctypes
import mmap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PAGE = mmap.PAGESIZE


def address_of(buffer: "WriteableBuffer | bytes") -> int:
    """User-space address of a buffer's bytes. The caller keeps the buffer alive.

    Raises TypeError for a read-only view: ctypes gives no address for one.
    """
    if isinstance(buffer, bytes):
        return ctypes.cast(ctypes.c_char_p(buffer), ctypes.c_void_p).value or 0
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


class Memory:
    """Anonymous, zeroed, page-aligned memory; `view` is its only memoryview of our own.

    It is a Python mmap, so a slice that someone still holds after close() stays readable: the
    pages are unmapped when the last view goes. Raises OSError (ENOMEM) or ValueError (size < 1).
    """

    def __init__(self, size: int, flags: int = mmap.MAP_PRIVATE) -> None:
        self.size = -(-size // PAGE) * PAGE
        self._map = mmap.mmap(-1, self.size, flags | mmap.MAP_ANONYMOUS)
        self.view = memoryview(self._map)
        self.addr = address_of(self._map)

    def close(self) -> bool:
        """Let go of the memory; False if views are left, and with them the mapping."""
        self.view.release()
        try:
            self._map.close()
        except BufferError:
            return False
        return True

    def __enter__(self) -> "Memory":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
