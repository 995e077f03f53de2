# SPDX-License-Identifier: GPL-2.0
"""RSS: the indirection table, by which the hash of a packet chooses its queue.

6.1 has no netlink message that sets it (ETHTOOL_MSG_RSS_SET came with 6.17), so by ioctl.
"""

import struct
from collections.abc import Sequence

from lib.nic.ioctl import Ask

_GRXRINGS = 0x2D
_GRSSH, _SRSSH = 0x46, 0x47
# struct ethtool_rxfh up to rss_config, 24 bytes: cmd, rss_context, indir_size, key_size (u32),
# hfunc, input_xfrm (reserved until 6.8), reserved (u8), reserved (u32).
_HEAD = struct.Struct("<4I4BI")
_RXNFC = 192  # sizeof(struct ethtool_rxnfc)


def receiving_queues(ask: Ask) -> int:
    """ETHTOOL_GRXRINGS: over how many queues RSS may spread. Raises OSError."""
    answer = bytearray(struct.pack("<I", _GRXRINGS).ljust(_RXNFC, b"\0"))
    ask(answer)
    (count,) = struct.unpack_from("<Q", answer, 8)
    return int(count)


def table(ask: Ask) -> list[int]:
    """ETHTOOL_GRSSH: the queue for each value of the hash. Empty if the card has no table.

    Raises OSError, EOPNOTSUPP for a card that does not spread at all.
    """
    sizes = bytearray(_HEAD.pack(_GRSSH, 0, 0, 0, 0, 0, 0, 0, 0))
    ask(sizes)
    size = _HEAD.unpack(sizes)[2]
    if not size:
        return []
    answer = bytearray(_HEAD.pack(_GRSSH, 0, size, 0, 0, 0, 0, 0, 0) + bytes(4 * size))
    ask(answer)
    return list(struct.unpack_from(f"<{size}I", answer, _HEAD.size))


def set_table(ask: Ask, queues: Sequence[int]) -> None:
    """ETHTOOL_SRSSH: as long as the card's table; empty for the kernel's default, spread(),
    which then follows the number of queues.

    Raises OSError: EINVAL for another length, or for a queue that there is not.
    """
    # Since 6.8 the command also says how the hash's input is made. What it is now stays.
    now = bytearray(_HEAD.pack(_GRSSH, 0, 0, 0, 0, 0, 0, 0, 0))
    ask(now)
    xfrm = _HEAD.unpack(now)[5]
    head = _HEAD.pack(_SRSSH, 0, len(queues), 0, 0, xfrm, 0, 0, 0)
    ask(bytearray(head + struct.pack(f"<{len(queues)}I", *queues)))


def spread(size: int, queues: Sequence[int]) -> list[int]:
    """A table of that size that deals these queues out evenly; with all of them it is the
    kernel's default (ethtool_rxfh_indir_default()).
    """
    return [queues[at % len(queues)] for at in range(size)]
