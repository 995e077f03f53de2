# SPDX-License-Identifier: GPL-2.0
"""Sizes around every limit: segments, pages, super-frames, readlen, room for iovs."""

import random
from dataclasses import replace

import pytest

from fixtures.stations import Flow, Station
from lib.uring import PAGE
from lib.zctap.abi import IOV_SIZE

contract = pytest.mark.contract

MSS = 1448  # of an MTU of 1500 with timestamps, over IPv4
SIZES = [1, 15, MSS - 1, MSS, MSS + 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE, (64 << 10) - 1, 65 << 10]
READLENS = [1, 2, 15, MSS - 1, MSS, MSS + 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 64 << 10]


@pytest.fixture(params=[4, 6], ids=["ipv4", "ipv6"])
def warm(source: Station, request: pytest.FixtureRequest) -> Flow:
    """A connection whose congestion window has opened, so that it sends large frames."""
    flow = source.flow(request.param)
    flow.transfer(100_000)
    return flow


@contract("DEV-1", "RECV-19", "RECV-21", "RECV-29")
def test_writes_of_every_size(warm: Flow) -> None:
    """What is written at once, a byte or more than a super-frame holds, comes byte for byte."""
    for size in SIZES:
        warm.tcp.send(size)
        warm.drain(size)
    for size in SIZES:
        warm.tcp.send(size)
    warm.drain(sum(SIZES))


@pytest.mark.zero_copy
@contract("DEV-1", "RECV-19")
@pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])
def test_super_frames(station: Station, family: int) -> None:
    """Frames of many segments land in the region as single ones do."""
    flow, rx, total = station.flow(family), station.link.rx, 16 * (32 << 10)
    flow.transfer(100_000)
    frames, zero_copy = rx.stats()["rx_packets"], flow.tally.zero_copy
    for _ in range(16):
        flow.tcp.send(32 << 10)
        flow.drain(32 << 10)
    frames = rx.stats()["rx_packets"] - frames
    # Single segments would make 23 of each write; how many are joined is TCP's guess of the pace.
    assert frames < 16 * 18, f"{frames} frames"
    assert flow.tally.zero_copy - zero_copy > 0.98 * total


@contract("RECV-18")
@pytest.mark.parametrize("readlen", [1 << 31, (1 << 32) - 1])
def test_readlen_has_32_bits(source: Station, readlen: int) -> None:
    """The largest readlen is as good as any, and is no negative number."""
    source.flow().bounded(readlen, 3000)


@contract("RECV-18", "RECV-19", "RECV-20", "RECV-29")
def test_calls_of_every_size(source: Station, rng: random.Random) -> None:
    """Whatever readlen and room a call has, it keeps to them, and the stream goes on behind it."""
    flow, total = source.flow(rng.choice((4, 6))), 120_000
    view, left = flow.receiver.metadata.view, total
    while flow.tally.total < total:
        left -= flow.tcp.feed(min(left, rng.choice(SIZES)))
        iovs = rng.choice((1, 2, 3, 16, 17, 18, 64))
        shift, odd = rng.randrange(8), rng.randrange(IOV_SIZE)
        room = iovs * IOV_SIZE + odd
        sqe = replace(
            flow.receiver.sqe(rng.choice(READLENS), room=room),
            addr=flow.receiver.metadata.addr + shift,
        )
        view[: shift + room + 8] = b"\xee" * (shift + room + 8)
        cqe = source.ring.run(sqe)
        assert 0 < cqe.res <= iovs * IOV_SIZE, (cqe, sqe)
        assert not bytes(view[:shift]).strip(b"\xee")
        assert not bytes(view[shift + cqe.res : shift + room + 8]).strip(b"\xee")
        received = flow.receiver.decode(cqe, view[shift : shift + room])
        assert received.length <= sqe.addr3 >> 32, (cqe, sqe)
        flow.receiver.give_back(flow.accept(received))


@contract("RECV-19", "RECV-29")
def test_pieces_held_out_of_order(source: Station, rng: random.Random) -> None:
    """Pieces given back in any order, some held for long, stay what they were until then."""
    flow, total, left = source.flow(), 150_000, 150_000
    held = []
    while flow.tally.total < total:
        left -= flow.tcp.feed(min(left, 10_000))
        offset = flow.tally.total
        for chunk in flow.accept(flow.receiver.receive(rng.choice(READLENS) + 100)):
            held.append((offset, chunk))
            offset += len(chunk.data)
        rng.shuffle(held)
        # Copy buffers are few: a call that finds none would fail.
        while len(held) > 8:
            at, chunk = held.pop()
            flow.tcp.check.pattern.check(at, chunk.data)
            flow.receiver.give_back([chunk])
    for at, chunk in held:
        flow.tcp.check.pattern.check(at, chunk.data)
    flow.receiver.give_back(chunk for _, chunk in held)
