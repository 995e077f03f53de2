# SPDX-License-Identifier: GPL-2.0
"""Something in front of a TCP socket: a BPF sockmap, or TLS done by the kernel."""

import contextlib
import ctypes
import os
import socket
import struct
from collections.abc import Iterator

_NR_BPF = 321  # syscall_64.tbl
_MAP_CREATE, _UPDATE_ELEM, _DELETE_ELEM = 0, 2, 3  # enum bpf_cmd
_TYPE_SOCKMAP = 15  # enum bpf_map_type
_TCP_ULP, _SOL_TLS, _TLS_TX, _TLS_RX = 31, 282, 1, 2
_TLS_1_2_VERSION, _AES_GCM_128 = 0x0303, 51

_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command: int, attr: bytes, what: str) -> int:
    padded = attr.ljust(128, b"\0")
    result = _libc.syscall(ctypes.c_long(_NR_BPF), command, padded, len(padded))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return int(result)


@contextlib.contextmanager
def in_sockmap(sock: socket.socket) -> Iterator[None]:
    """Inside, the connected socket is in a sockmap without a program. Raises OSError."""
    fd = _bpf(_MAP_CREATE, struct.pack("<IIII", _TYPE_SOCKMAP, 4, 4, 1), "BPF_MAP_CREATE")
    try:
        key, value = ctypes.c_uint32(0), ctypes.c_uint32(sock.fileno())
        attr = struct.pack("<IIQQQ", fd, 0, ctypes.addressof(key), ctypes.addressof(value), 0)
        _bpf(_UPDATE_ELEM, attr, "BPF_MAP_UPDATE_ELEM")
        try:
            yield
        finally:
            _bpf(
                _DELETE_ELEM,
                struct.pack("<IIQ", fd, 0, ctypes.addressof(key)),
                "BPF_MAP_DELETE_ELEM",
            )
    finally:
        os.close(fd)


def tls(sock: socket.socket, *, receive: bool) -> None:
    """Let the kernel do TLS on a connected socket, for receiving or for sending. Raises OSError."""
    # struct tls12_crypto_info_aes_gcm_128: version, cipher_type, iv, key, salt, rec_seq
    info = struct.pack("<HH8s16s4s8s", _TLS_1_2_VERSION, _AES_GCM_128, *[bytes(0)] * 4)
    sock.setsockopt(socket.IPPROTO_TCP, _TCP_ULP, b"tls")
    sock.setsockopt(_SOL_TLS, _TLS_RX if receive else _TLS_TX, info)
