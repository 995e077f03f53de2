# SPDX-License-Identifier: GPL-2.0
"""bpf(2), and loading a program of a few instructions."""

import ctypes
import os
import struct

_NR_BPF = 321  # syscall_64.tbl
_PROG_LOAD = 5  # enum bpf_cmd

_libc = ctypes.CDLL(None, use_errno=True)


def call(command: int, attr: bytes, what: str) -> int:
    """The system call; `attr` is the start of a union bpf_attr. Raises OSError, with `what`."""
    padded = attr.ljust(128, b"\0")
    result = _libc.syscall(ctypes.c_long(_NR_BPF), command, padded, len(padded))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return int(result)


def load(kind: int, code: bytes) -> int:
    """Load a program (enum bpf_prog_type; struct bpf_insn): its descriptor. Raises OSError."""
    text, licence = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"GPL")
    size = len(code) // 8
    attr = struct.pack("<IIQQ", kind, size, ctypes.addressof(text), ctypes.addressof(licence))
    return call(_PROG_LOAD, attr, "BPF_PROG_LOAD")
