# SPDX-License-Identifier: GPL-2.0
"""What TCP itself counted on a connection (struct tcp_info of include/uapi/linux/tcp.h)."""

import socket
import struct
from typing import NamedTuple

_TOTAL_RETRANS, _DATA_SEGS_IN, _DATA_SEGS_OUT, _SIZE = 100, 152, 156, 160


class Segments(NamedTuple):
    """Segments with payload, those that were sent again included."""

    received: int
    sent: int
    again: int


def segments(sock: socket.socket) -> Segments:
    """The counts of one end of a connection. Raises OSError before Linux 4.6."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SIZE)

    def word(offset: int) -> int:
        return int(struct.unpack_from("I", info, offset)[0])

    return Segments(word(_DATA_SEGS_IN), word(_DATA_SEGS_OUT), word(_TOTAL_RETRANS))
