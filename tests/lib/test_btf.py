# SPDX-License-Identifier: GPL-2.0
"""The enumerator reader, on BTF made here."""

import struct

import pytest

from lib.btf import enumerators


def btf(*types: bytes, strings: bytes) -> bytes:
    body = b"".join(types)
    head = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(body), len(body), len(strings))
    return head + body + strings


def record(kind: int, vlen: int, extra: bytes, name: int = 0) -> bytes:
    return struct.pack("<III", name, kind << 24 | vlen, 4) + extra


STRINGS = b"\0ALPHA\0BETA\0GAMMA\0"
ALPHA, BETA, GAMMA = 1, 7, 12
ENUM = record(6, 2, struct.pack("<IiIi", ALPHA, 49, BETA, -3))
ENUM64 = record(19, 1, struct.pack("<IIi", GAMMA, 26, 0))
OTHERS = [
    record(1, 0, bytes(4)),  # int
    record(2, 0, b""),  # pointer
    record(3, 0, bytes(12)),  # array
    record(4, 3, struct.pack("<I", ALPHA) * 9),  # struct whose members look like enumerators
    record(13, 2, bytes(16)),  # function prototype
    record(14, 0, bytes(4)),  # variable
    record(15, 1, bytes(12)),  # data section
    record(17, 0, bytes(4)),  # declaration tag
    record(12, 1, b""),  # function: its vlen is the linkage
]


def test_values_are_found_behind_every_kind_of_type() -> None:
    data = btf(*OTHERS, ENUM, *OTHERS, ENUM64, strings=STRINGS)
    assert enumerators(data, {"ALPHA", "BETA", "GAMMA"}) == {"ALPHA": 49, "BETA": -3, "GAMMA": 26}


def test_names_that_are_not_there() -> None:
    data = btf(ENUM, strings=STRINGS)
    assert enumerators(data, {"ALPH", "LPHA", "DELTA"}) == {}


def test_name_of_something_else_is_no_enumerator() -> None:
    assert enumerators(btf(*OTHERS, strings=STRINGS), {"ALPHA"}) == {}


@pytest.mark.parametrize("data", [b"", b"\x9f\xeb", bytes(24)])
def test_what_is_no_btf(data: bytes) -> None:
    with pytest.raises(ValueError, match="BTF"):
        enumerators(data, {"ALPHA"})
