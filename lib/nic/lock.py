# SPDX-License-Identifier: GPL-2.0
"""One run at a time on a card, whoever's it is and wherever its cache is.

The lock is an abstract UNIX address (unix(7)) with the interface's number in it: such addresses
belong to a network namespace, as interfaces do, and the kernel drops them with the process.
"""

import contextlib
import errno
import socket
import struct
from collections.abc import Iterator

from lib.trouble import Trouble


def _address(ifindex: int) -> bytes:
    return b"\0zctap-selftests/nic/%d" % ifindex


@contextlib.contextmanager
def alone(ifindex: int, ifname: str) -> Iterator[None]:
    """Inside, no other process of this namespace has the interface. Raises Trouble if one has."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.bind(_address(ifindex))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            pid = holder(ifindex)
            by = f"process {pid}" if pid else "a process"
            raise Trouble(
                f"{ifname} is in use by another run, {by}: wait for it, or end it"
            ) from None
        sock.listen(64)  # who asks for the holder is never accepted
        yield


def holder(ifindex: int) -> int | None:
    """The process that has an interface; None: nobody has it, 0: somebody who does not tell."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect(_address(ifindex))
        except BlockingIOError:  # too many have asked
            return 0
        except OSError:
            return None
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int(struct.unpack("3i", credentials)[0])
