# SPDX-License-Identifier: GPL-2.0
"""TCP_ZEROCOPY_RECEIVE: payload mapped instead of copied (include/uapi/linux/tcp.h)."""

import ctypes
import os
import socket
import struct

_ZEROCOPY_RECEIVE = 35
# struct tcp_zerocopy_receive up to `err`: address length recv_skip_hint inq err
_ARGUMENT = struct.Struct("<QIIIi")
_PROT_READ, _MAP_SHARED = 0x1, 0x1

_libc = ctypes.CDLL(None, use_errno=True)
_mmap, _munmap = _libc["mmap"], _libc["munmap"]
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
_munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


def _failed(what: str) -> OSError:
    error = ctypes.get_errno()
    return OSError(error, f"{what}: {os.strerror(error)}")


class TcpMapping:
    """A place in memory where pages of a TCP socket's payload can be mapped. Raises OSError."""

    def __init__(self, sock: socket.socket, size: int) -> None:
        self._sock, self._size = sock, size
        addr = _mmap(None, size, _PROT_READ, _MAP_SHARED, sock.fileno(), 0)
        if addr is None or addr == ctypes.c_void_p(-1).value:
            raise _failed("mmap of the socket")
        self._addr = addr
        self._view = memoryview((ctypes.c_char * size).from_address(addr)).cast("B")

    def receive(self) -> tuple[memoryview, int]:
        """What was mapped, to be read until the next call, and a hint: bytes to be read(2) first.

        Raises OSError.
        """
        argument = ctypes.create_string_buffer(
            _ARGUMENT.pack(self._addr, self._size, 0, 0, 0), _ARGUMENT.size
        )
        length = ctypes.c_uint32(_ARGUMENT.size)
        if _libc.getsockopt(
            self._sock.fileno(),
            socket.IPPROTO_TCP,
            _ZEROCOPY_RECEIVE,
            argument,
            ctypes.byref(length),
        ):
            raise _failed("TCP_ZEROCOPY_RECEIVE")
        _, mapped, hint, _, _ = _ARGUMENT.unpack(argument.raw)
        return self._view[:mapped], hint

    def close(self) -> None:
        """Unmap. The view is released first: a late access raises ValueError, never faults."""
        self._view.release()
        _munmap(self._addr, self._size)
