# SPDX-License-Identifier: GPL-2.0
"""Page-aligned memory that can be shared with the kernel, and the addresses of Python buffers."""

import contextlib
import ctypes
import mmap
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PAGE = mmap.PAGESIZE
_READ_WRITE = mmap.PROT_READ | mmap.PROT_WRITE
_MAP_FIXED = 0x10
_MREMAP_MAYMOVE, _MREMAP_FIXED = 1, 2  # linux/mman.h

_libc = ctypes.CDLL(None, use_errno=True)
_address, _size = ctypes.c_void_p, ctypes.c_size_t
_int, _long = ctypes.c_int, ctypes.c_long
_mmap, _mprotect, _mremap = _libc["mmap"], _libc["mprotect"], _libc["mremap"]
_mmap.restype = _mremap.restype = ctypes.c_void_p
_mmap.argtypes = (_address, _size, _int, _int, _int, _long)
_mprotect.argtypes = (_address, _size, _int)
_mremap.argtypes = (_address, _size, _size, _int, _address)


def address_of(buffer: "WriteableBuffer | bytes") -> int:
    """User-space address of a buffer's bytes. The caller keeps the buffer alive.

    Raises TypeError for a read-only view: ctypes gives no address for one.
    """
    if isinstance(buffer, bytes):
        return ctypes.cast(ctypes.c_char_p(buffer), ctypes.c_void_p).value or 0
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def _error(what: str) -> OSError:
    error = ctypes.get_errno()
    return OSError(error, f"{what}: {os.strerror(error)}")


class Memory:
    """Anonymous, zeroed, page-aligned memory; `view` is its only memoryview of our own.

    It is a Python mmap, so a slice that someone still holds after close() stays readable: the
    pages are unmapped when the last view goes. Raises OSError (ENOMEM) or ValueError (size < 1).

    What lies under the addresses can be changed: overlay(), protect(), advise() and move_to()
    take a part of it, `at` bytes from the start, whole pages (size None: all from there on). The
    view then shows whatever is there; reading what is protected is a SIGSEGV.
    """

    def __init__(self, size: int, flags: int = mmap.MAP_PRIVATE) -> None:
        self.size = -(-size // PAGE) * PAGE
        self._map = mmap.mmap(-1, self.size, flags | mmap.MAP_ANONYMOUS)
        self.view = memoryview(self._map)
        self.addr = address_of(self._map)

    def overlay(
        self, fd: int = -1, *, at: int = 0, size: int | None = None, offset: int = 0
    ) -> None:
        """Unmap a part, and map a file there, shared, or new zeroed memory (fd -1). OSError."""
        kind = mmap.MAP_SHARED if fd >= 0 else mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        length = self._length(at, size)
        where = _mmap(self.addr + at, length, _READ_WRITE, kind | _MAP_FIXED, fd, offset)
        if where != self.addr + at:
            raise _error("mmap")

    def protect(self, access: int, *, at: int = 0, size: int | None = None) -> None:
        """mprotect(2): `access` is 0 or made of mmap.PROT_READ and so on. OSError."""
        if _mprotect(self.addr + at, self._length(at, size), access):
            raise _error("mprotect")

    @contextlib.contextmanager
    def protected(self, access: int = 0, *, at: int = 0, size: int | None = None) -> Iterator[None]:
        """protect() inside, readable and writable again afterwards."""
        self.protect(access, at=at, size=size)
        try:
            yield
        finally:
            self.protect(_READ_WRITE, at=at, size=size)

    def advise(self, advice: int, *, at: int = 0, size: int | None = None) -> None:
        """madvise(2) with mmap.MADV_DONTNEED or another one. OSError."""
        self._map.madvise(advice, at, self._length(at, size))

    def move_to(self, other: "Memory") -> None:
        """mremap(2) the pages to where `other` has its own; zeroes are left here. OSError."""
        if other.size != self.size:
            raise ValueError(f"{self.size} bytes to where there are {other.size}")
        flags = _MREMAP_MAYMOVE | _MREMAP_FIXED
        if _mremap(self.addr, self.size, self.size, flags, other.addr) != other.addr:
            raise _error("mremap")
        self.overlay()

    def _length(self, at: int, size: int | None) -> int:
        length = self.size - at if size is None else size
        if at < 0 or length < 0 or at + length > self.size:
            raise ValueError(f"{length} bytes at {at}: not inside {self.size} bytes")
        return length

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
