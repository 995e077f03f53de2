# SPDX-License-Identifier: GPL-2.0
"""Something in front of a TCP socket: a BPF sockmap, or TLS done by the kernel."""

import contextlib
import ctypes
import os
import socket
import struct
from collections.abc import Iterator

from netns import bpf

# enum bpf_cmd
_MAP_CREATE, _UPDATE_ELEM, _DELETE_ELEM, _PROG_ATTACH = 0, 2, 3, 8
_TYPE_SOCKMAP = 15  # enum bpf_map_type
_TYPE_SK_SKB, _PARSER, _VERDICT = 14, 4, 5  # enum bpf_prog_type, enum bpf_attach_type
_SK_REDIRECT_MAP = 52  # BPF_FUNC_sk_redirect_map
_TCP_ULP, _SOL_TLS, _TLS_TX, _TLS_RX = 31, 282, 1, 2
_TLS_1_2_VERSION, _AES_GCM_128 = 0x0303, 51


class _SockMap:
    """A sockmap of one slot; leaving it lets go of the socket in it."""

    def __init__(self) -> None:
        self.fd = bpf.call(
            _MAP_CREATE, struct.pack("<IIII", _TYPE_SOCKMAP, 4, 4, 1), "BPF_MAP_CREATE"
        )
        self._key, self._filled = ctypes.c_uint32(0), False

    def put(self, sock: socket.socket) -> None:
        value = ctypes.c_uint32(sock.fileno())
        attr = struct.pack(
            "<IIQQQ", self.fd, 0, ctypes.addressof(self._key), ctypes.addressof(value), 0
        )
        bpf.call(_UPDATE_ELEM, attr, "BPF_MAP_UPDATE_ELEM")
        self._filled = True

    def attach(self, program: int, kind: int) -> None:
        attr = struct.pack("<IIII", self.fd, program, kind, 0)
        bpf.call(_PROG_ATTACH, attr, "BPF_PROG_ATTACH")

    def __enter__(self) -> "_SockMap":
        return self

    def __exit__(self, *_exc: object) -> None:
        try:
            if self._filled:
                attr = struct.pack("<IIQ", self.fd, 0, ctypes.addressof(self._key))
                bpf.call(_DELETE_ELEM, attr, "BPF_MAP_DELETE_ELEM")
        finally:
            os.close(self.fd)


@contextlib.contextmanager
def in_sockmap(sock: socket.socket) -> Iterator[None]:
    """Inside, the connected socket is in a sockmap without a program. Raises OSError."""
    with _SockMap() as sockmap:
        sockmap.put(sock)
        yield


def _instruction(code: int, registers: int = 0, immediate: int = 0) -> bytes:
    return struct.pack("<BBhi", code, registers, 0, immediate)  # struct bpf_insn


def _redirect(target: int, *, ingress: bool) -> bytes:
    """`return bpf_sk_redirect_map(skb, target, 0, flags)`: to a side of the socket there."""
    return b"".join(
        (
            _instruction(0x18, 0x12, target) + _instruction(0),  # r2 = the map of that descriptor
            _instruction(0xB7, 0x03),  # r3 = 0: its slot
            _instruction(0xB7, 0x04, int(ingress)),  # r4 = BPF_F_INGRESS, or 0
            _instruction(0x85, 0, _SK_REDIRECT_MAP),
            _instruction(0x95),
        )
    )


# `return skb->len`: what has arrived is a message, be it as long as it may
_ALL_OF_IT = _instruction(0x61, 0x10) + _instruction(0x95)


@contextlib.contextmanager
def _program(code: bytes) -> Iterator[int]:
    fd = bpf.load(_TYPE_SK_SKB, code)
    try:
        yield fd
    finally:
        os.close(fd)  # the map holds it itself


@contextlib.contextmanager
def redirected(
    source: socket.socket, target: socket.socket, *, parser: bool, ingress: bool = False
) -> Iterator[None]:
    """Inside, what arrives on a connected TCP socket is sent on another one, by the kernel.

    parser: frames go through a stream parser first, which joins them. ingress: they are received
    by the other one, which is connected, too, and need not be one of TCP. Raises OSError.
    """
    with _SockMap() as targets, _SockMap() as sources:
        with _program(_redirect(targets.fd, ingress=ingress)) as verdict:
            sources.attach(verdict, _VERDICT)
        if parser:
            with _program(_ALL_OF_IT) as program:
                sources.attach(program, _PARSER)
        targets.put(target)
        sources.put(source)
        yield


def tls(sock: socket.socket, *, receive: bool) -> None:
    """Let the kernel do TLS on a connected socket, for receiving or for sending. Raises OSError."""
    # struct tls12_crypto_info_aes_gcm_128: version, cipher_type, iv, key, salt, rec_seq
    info = struct.pack("<HH8s16s4s8s", _TLS_1_2_VERSION, _AES_GCM_128, *[bytes(0)] * 4)
    sock.setsockopt(socket.IPPROTO_TCP, _TCP_ULP, b"tls")
    sock.setsockopt(_SOL_TLS, _TLS_RX if receive else _TLS_TX, info)
