# SPDX-License-Identifier: GPL-2.0
"""What receives by recv(2): all that comes, into all buffers by turns."""

import socket
from contextlib import ExitStack

import pytest

from selftests.zctap.bench_ends import _recv


@pytest.mark.parametrize("flows", [1, 3])
def test_recv_takes_everything_and_its_buffers_take_turns(flows: int):
    buffers = [bytearray(4) for _ in range(2)]
    with ExitStack() as undo:
        pairs = [socket.socketpair() for _ in range(flows)]
        for one in [sock for pair in pairs for sock in pair]:
            undo.callback(one.close)
        for _, theirs in pairs:
            theirs.sendall(b"abcdefgh")
            theirs.close()
        found = _recv([ours for ours, _ in pairs], buffers)
    assert found["bytes"] == 8 * flows
    assert found["calls"] >= 3 * flows
    assert all(any(buffer) for buffer in buffers)
