# SPDX-License-Identifier: GPL-2.0
"""Values of enumerators in BTF, the kernel's own type information.

Format: Documentation/bpf/btf.rst. Only as much of it as it takes to walk over the types.
"""

import struct

_HEADER = struct.Struct(
    "<HBBIIIII"
)  # magic version flags hdr_len type_off type_len str_off str_len
_TYPE = struct.Struct("<III")  # name_off info size_or_type
_MAGIC = 0xEB9F
_ENUM, _ENUM64 = 6, 19
# Bytes behind the type record: a fixed number, and a number for each of its vlen members.
_FIXED = {1: 4, 3: 12, 14: 4, 17: 4}
_EACH = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}


def enumerators(data: bytes, names: set[str]) -> dict[str, int]:
    """The values of those enumerators that `data` has; raises ValueError if it is not BTF.

    Names that are not even in the string table (the usual case) cost no walk over the types.
    """
    if len(data) < _HEADER.size:
        raise ValueError("too short for BTF")
    magic, _, _, hdr_len, type_off, type_len, str_off, str_len = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise ValueError(f"BTF magic {_MAGIC:#x} expected, found {magic:#x}")
    strings = data[hdr_len + str_off : hdr_len + str_off + str_len]
    wanted = {}
    for name in names:
        at = strings.find(b"\0" + name.encode() + b"\0")
        if at >= 0:
            wanted[at + 1] = name
    if not wanted:
        return {}
    types = data[hdr_len + type_off : hdr_len + type_off + type_len]
    return _walk(types, wanted)


def _walk(types: bytes, wanted: dict[int, str]) -> dict[str, int]:
    found, at, unpack, end = {}, 0, _TYPE.unpack_from, len(types)
    while at < end:
        _, info, _ = unpack(types, at)
        at += _TYPE.size
        kind, vlen = info >> 24 & 0x1F, info & 0xFFFF
        if kind in {_ENUM, _ENUM64}:
            for member in range(at, at + vlen * _EACH[kind], _EACH[kind]):
                name, value = struct.unpack_from("<Ii", types, member)
                if name in wanted:
                    found[wanted[name]] = value
        at += _FIXED.get(kind, 0) + _EACH.get(kind, 0) * vlen
    return found
