# SPDX-License-Identifier: GPL-2.0
"""Layouts, and what the preparing functions write."""

import ctypes
import struct

import pytest

from lib.uring import Cqe, CqeFlag, Memory, SqeFlag, address_of, op
from lib.uring.abi import Op, RecvSend, Timespec, check_layout


def packed(sqe: op.Sqe, user_data: int = 7) -> tuple[int, ...]:
    buffer = bytearray(64)
    sqe.pack_into(buffer, 0, user_data)
    # io_uring_sqe: opcode flags ioprio fd off addr len op_flags user_data buf_index personality
    return struct.unpack("<BBHiQQIIQHH", bytes(buffer[:44]))


def test_layout_check_can_fail() -> None:
    with pytest.raises(AssertionError, match="Timespec"):
        check_layout(Timespec, 16, tv_nsec=4)
    with pytest.raises(AssertionError, match="Timespec"):
        check_layout(Timespec, 12, tv_nsec=8)


def test_recv_with_a_buffer_of_a_group() -> None:
    fields = packed(op.recv_select(5, 9, multishot=True))
    expected = (Op.RECV, SqeFlag.BUFFER_SELECT, RecvSend.MULTISHOT, 5, 0, 0, 0, 0, 7, 9, 0)
    assert fields == expected


def test_recv_with_a_buffer_of_ours() -> None:
    buffer = bytearray(100)
    fields = packed(op.recv(5, buffer, 60, 0x40))
    assert fields == (Op.RECV, 0, 0, 5, 0, address_of(buffer), 60, 0x40, 7, 0, 0)


def test_flags_are_added_to_a_copy() -> None:
    plain = op.nop()
    linked = plain.with_flags(SqeFlag.IO_LINK).with_flags(SqeFlag.ASYNC)
    assert (plain.flags, linked.flags) == (0, SqeFlag.IO_LINK | SqeFlag.ASYNC)


def test_addresses() -> None:
    data, area = b"immutable", Memory(1)
    assert ctypes.string_at(address_of(data), len(data)) == data
    area.view[3:6] = b"abc"
    assert ctypes.string_at(area.addr + 3, 3) == b"abc"
    assert address_of(area.view[3:]) == area.addr + 3
    with pytest.raises(TypeError):
        address_of(memoryview(data))


def test_memory_outlives_close_for_those_who_look() -> None:
    area = Memory(1)
    piece = area.view[:4]
    piece[:] = b"here"
    assert not area.close()
    assert bytes(piece) == b"here"


def test_timespec() -> None:
    spec = Timespec.of(1.25)
    assert (spec.tv_sec, spec.tv_nsec) == (1, 250_000_000)


def test_completion_properties() -> None:
    plain, error = Cqe(1, 5, 0), Cqe(1, -2, 0)
    selected = Cqe(1, 5, 9 << 16 | CqeFlag.BUFFER | CqeFlag.MORE)
    assert (plain.error, plain.buffer_id, plain.more) == (0, None, False)
    assert error.error == 2
    assert (selected.buffer_id, selected.more) == (9, True)
