# SPDX-License-Identifier: GPL-2.0
"""Features of an interface, the "offloads" of `ethtool -k`, by the names that has for them."""

import struct
from dataclasses import dataclass

from lib.nic.ioctl import FEATURES, Ask, strings

NTUPLE = "rx-ntuple-filter"

_GFEATURES, _SFEATURES = 0x3A, 0x3B


@dataclass(frozen=True)
class Feature:
    """`wanted` is what was asked for, `active` what came of it, as features depend on each other.

    Those that are not `changeable` the driver or the kernel has fixed.
    """

    changeable: bool
    wanted: bool
    active: bool


def features(ask: Ask) -> dict[str, Feature]:
    """ETHTOOL_GFEATURES: name -> feature. Raises OSError."""
    names = strings(ask, FEATURES)
    blocks = (len(names) + 31) // 32
    answer = bytearray(struct.pack("<II", _GFEATURES, blocks) + bytes(16 * blocks))
    ask(answer)
    found = {}
    for bit, name in enumerate(names):
        # struct ethtool_get_features_block: available, requested, active, never_changed
        available, requested, active, _ = struct.unpack_from("<4I", answer, 8 + bit // 32 * 16)
        mask = 1 << bit % 32
        if name:
            found[name] = Feature(
                bool(available & mask), bool(requested & mask), bool(active & mask)
            )
    return found


def set_feature(ask: Ask, name: str, on: bool) -> None:
    """ETHTOOL_SFEATURES: ask for it, or no longer. Raises OSError, KeyError for an unknown name.

    The kernel says by the result, which nobody needs who looks again, whether it could do it.
    """
    names = strings(ask, FEATURES)
    if name not in names:
        raise KeyError(name)
    blocks = (len(names) + 31) // 32
    command = bytearray(struct.pack("<II", _SFEATURES, blocks) + bytes(8 * blocks))
    bit = names.index(name)
    mask = 1 << bit % 32
    # struct ethtool_set_features_block: valid, requested
    struct.pack_into("<II", command, 8 + bit // 32 * 8, mask, mask if on else 0)
    ask(command)
