# SPDX-License-Identifier: GPL-2.0
"""A bulk stream that is read as it comes: nearly all of it without a copy, in flat memory."""

import socket
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest

from fixtures.multishot import DEFERRED
from fixtures.stations import META, MakeStation
from lib.child import Child, Hear, Say
from lib.deadline import scaled
from lib.pattern import Pattern
from lib.zctap import Drain

contract = pytest.mark.contract
pytestmark = pytest.mark.zero_copy

BLOCK, WARM, LENGTH = 1 << 20, 2 << 20, 8 << 20
SHARE = 0.998  # the RFC's author saw 0.9981
GROWTH = 256 << 10  # bytes


@pytest.fixture
def traced() -> Iterator[None]:
    """What Python allocates is counted: a process that has run tests has room for megabytes more
    without growing.
    """
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.own_sender
@contract("DEV-1", "RECV-21", "RECV-24", "RECV-29")
@pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])
def test_bulk_stream(make_station: MakeStation, seed: int, traced: None, family: int) -> None:
    """8 MiB come whole, 99.8 % of them by way of the region, and take up no memory.

    However long nobody reads, what is on its way fits the region and the receive buffer: half a
    region each for that and for a batch. Else frames would be dropped, and those behind them be
    copied, or they would be put together to save memory.
    """
    station = make_station(pages=512, ring_flags=DEFERRED)
    flow = station.flow(family, rcvbuf=station.region.size // 4)
    block, checksum = Pattern(seed).slice(0, BLOCK), 0

    def send(say: Say, _hear: Hear) -> None:
        sent = 0
        with socket.socket(fileno=flow.tcp.tx.detach()) as sock:
            sock.setblocking(True)
            for _ in range(LENGTH // BLOCK):
                sock.sendall(block)
                sent = zlib.crc32(block, sent)
        say(f"{sent:x}")

    def look(_number: int, data: memoryview, _zero_copy: bool) -> None:
        nonlocal checksum
        checksum = zlib.crc32(data, checksum)

    drain = Drain.of(flow.receiver, META, look)
    with Child(send) as child:
        drain.run(WARM, scaled(5))
        before, _ = tracemalloc.get_traced_memory()
        drained = drain.run(LENGTH, scaled(5))
        growth = tracemalloc.get_traced_memory()[0] - before
        assert child.hear() == f"{checksum:x}"
    assert drained.total == LENGTH
    share = drained.zero_copy / LENGTH
    assert share >= SHARE, f"{share:.2%} without a copy, expected {SHARE:.1%}: {drained}"
    assert growth < GROWTH, f"{growth} bytes more are in use than after {WARM >> 20} MiB"
