# SPDX-License-Identifier: GPL-2.0
"""The three io_uring system calls, errno turned into OSError.

Numbers are those of arch/x86/entry/syscalls/syscall_64.tbl (the same on every 64-bit architecture
with the generic table). ctypes releases the GIL around each call, so a thread that waits in
io_uring_enter() lets the others run.
"""

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)


def _function(*argtypes: type) -> "ctypes._NamedFuncPointer":
    # __getitem__ gives a fresh function object each time, so each can carry its own argtypes.
    function = _libc["syscall"]
    function.restype = ctypes.c_long
    function.argtypes = (ctypes.c_long, *argtypes)
    return function


_setup = _function(ctypes.c_uint, ctypes.c_void_p)
_enter = _function(
    ctypes.c_uint, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_size_t
)
_register = _function(ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_uint)

_NR_SETUP, _NR_ENTER, _NR_REGISTER = 425, 426, 427


def _checked(result: int, what: str) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return int(result)


def setup(entries: int, params: int) -> int:
    """io_uring_setup(entries, address of struct io_uring_params): the ring's descriptor."""
    return _checked(_setup(_NR_SETUP, entries, params), "io_uring_setup")


def enter(fd: int, to_submit: int, min_complete: int, flags: int, arg: int, argsz: int) -> int:
    """io_uring_enter(): how many SQEs the kernel took.

    OSError with EINTR is passed on: the caller knows how long it still wants to wait.
    """
    return _checked(
        _enter(_NR_ENTER, fd, to_submit, min_complete, flags, arg, argsz), "io_uring_enter"
    )


def register(fd: int, opcode: int, arg: int | None, nr_args: int) -> int:
    """io_uring_register() with the address of its argument (None: NULL)."""
    return _checked(
        _register(_NR_REGISTER, fd, opcode, arg, nr_args), f"io_uring_register({opcode})"
    )
