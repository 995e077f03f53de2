# SPDX-License-Identifier: GPL-2.0
"""Segments in whatever order and overlap: the stream comes out right, and no page is lost."""

import random
import socket
from collections.abc import Callable
from itertools import permutations

import pytest

from fixtures.peers import Craft, CraftedFlow, MakePeer
from fixtures.registration import parting
from fixtures.stations import MakeStation, Station
from lib.deadline import wait_until
from lib.uring import PAGE
from lib.zctap import Entry, IfqReq
from netns.peer import Peer

contract = pytest.mark.contract
both_families = pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])


@contract("DEV-1", "RECV-19")
@both_families
@pytest.mark.parametrize("timed", [False, True], ids=["plain", "timestamps"])
def test_segments_in_order(station: Station, craft: Craft, family: int, timed: bool) -> None:
    """Segments in order are all in the region, read one by one or all at once."""
    flow = craft(station, family, timed=timed)
    for size in (1, 100, 1400):
        flow.peer.feed(size)
        flow.drain(size)
    flow.peer.feed(8 * 1400)
    flow.peer.wait_queued(8 * 1400)
    flow.drain(8 * 1400)
    assert flow.tally.copied == 0


@contract("RECV-19", "BUF-2")
def test_every_order_of_four_segments(station: Station, craft: Craft) -> None:
    """Four segments in each of their 24 orders are delivered as if they had come in order."""
    flow = craft(station)
    peer, sizes = flow.peer, (700, 1, 1400, 30)
    for order in permutations(range(4)):
        offsets = [peer.sent.offset + sum(sizes[:at]) for at in range(4)]
        for at in order:
            peer.put(peer.data(offsets[at], sizes[at]))
        peer.sent.offset += sum(sizes)
        peer.wait_queued(sum(sizes))
        flow.drain(sum(sizes))
    peer.wait_acked(peer.sent.offset)


@contract("RECV-19", "BUF-2")
@both_families
def test_shuffled_segments(station: Station, craft: Craft, family: int, rng: random.Random) -> None:
    """Segments of any size, shuffled and some sent twice, are each delivered once, in place."""
    flow = craft(station, family, timed=rng.random() < 0.5)
    peer = flow.peer
    for _ in range(4):
        pieces, start = [], peer.sent.offset
        for _ in range(20):
            size = rng.choice((1, rng.randrange(1, 100), rng.randrange(1, 1400)))
            pieces.append((peer.sent.offset, size))
            peer.sent.offset += size
        for at, size in rng.sample(pieces, 20) + rng.sample(pieces, 5):
            peer.put(peer.data(at, size))
        peer.wait_queued(peer.sent.offset - start)
        flow.drain(peer.sent.offset - start)
    peer.probe()


@contract("RECV-22", "RECV-18", "RECV-19", "BUF-2")
def test_readers_take_turns(station: Station, craft: Craft, rng: random.Random) -> None:
    """recv(2) and RECV_ZC, each for some bytes, get what overlapping segments make of a stream."""
    flow = craft(station)
    peer, size = flow.peer, 12_000
    whole = [(at, min(1400, size - at)) for at in range(0, size, 1000)]
    for at, length in rng.sample(whole, len(whole)):
        peer.put(peer.data(at, length))
    peer.wait_queued(size)
    while left := size - peer.check.offset:
        length = min(left, rng.randrange(1, 2000))
        if rng.random() < 0.5:
            peer.read(length)
        else:
            flow.drain(length)


def went(entry: Entry) -> bool:
    """Whether the region of a closed ifq is gone when the kernel has looked a few times."""

    def looked() -> bool:
        try:
            return entry.state().release_polls >= 3
        except OSError:
            return not entry.exists()

    wait_until(looked, entry.dump)
    return not entry.exists()


@contract("REL-7", "RECV-19", "REG-20")
@both_families
def test_segments_that_wait_for_one_beyond_the_end(
    station: Station, craft: Craft, explicit: None, family: int
) -> None:
    """Segments behind a missing one are intact when the ifq is closed before that comes.

    They keep the region, or lie elsewhere: a region that has gone is the user's, who writes there.
    """
    flow = craft(station, family)
    peer, size = flow.peer, 1000
    for at in (2 * size, size):
        peer.put(peer.data(at, size))
    peer.probe()
    entry = station.entry
    assert parting(station, IfqReq()) == ""
    if entry is not None and went(entry):
        for page in range(station.region.pages):
            station.region.piece(page, 0, PAGE)[:] = bytes(PAGE)
    peer.put(peer.data(0, size))
    peer.sent.offset = 3 * size
    peer.wait_queued(3 * size)
    peer.read(3 * size)
    station.gone()


@contract("RECV-19", "BUF-2")
@both_families
def test_sequence_numbers_wrap(station: Station, craft: Craft, family: int) -> None:
    """A stream goes on over the end of the sequence numbers, in order or not."""
    flow = craft(station, family, first=2**32 - 4000)
    flow.peer.put(flow.peer.data(3500, 1000))
    flow.peer.feed(3500)
    flow.peer.wait_queued(4500)
    flow.peer.sent.offset = 4500
    flow.peer.feed(2000)
    flow.drain(6500)


@contract("RECV-19", "RECV-21", "BUF-2")
def test_segments_of_one_byte(station: Station, craft: Craft) -> None:
    """A hundred segments of one byte each, which the stack may join, are one stream."""
    flow = craft(station, mss=1)
    flow.peer.feed(100)
    flow.peer.wait_queued(100)
    flow.drain(100)
    for _ in range(20):
        flow.peer.feed(1)
        flow.drain(1)
    assert flow.tally.zero_copy >= 20


@contract("RECV-19", "BUF-2", "BUF-3")
def test_duplicates(station: Station, craft: Craft) -> None:
    """What has been received, or read, is not delivered again, and its pages come free."""
    flow = craft(station)
    peer = flow.peer
    peer.feed(4200)
    again = [peer.data(at, peer.garbage(at, 1400)) for at in (0, 1400, 2800)]
    peer.put(*again, *again)  # while the first lie in the socket
    flow.drain(4200)
    peer.put(*again)
    peer.probe()
    assert peer.queued() == 0
    station.at_rest()
    peer.feed(1000)
    flow.drain(1000)


# -- overlaps: the kernel decides whose bytes are kept, and recv(2) says which these are ------

Script = list[tuple[int, int, bool]]  # offset, length, whether the bytes are the stream's

OVERLAPS: dict[str, Script] = {
    "front": [(0, 1000, True), (500, 1000, False), (1000, 500, True)],
    "front, to the byte": [(0, 1000, True), (999, 2, True)],
    "back": [(1000, 1000, True), (500, 1000, False), (0, 500, True)],
    "both ends": [(0, 500, True), (1000, 500, True), (250, 1000, False)],
    "inside": [(1000, 1000, True), (1200, 300, False), (0, 1000, True)],
    "around": [(1200, 300, False), (1000, 1000, True), (0, 1000, True)],
    "around several": [(300, 100, False), (500, 100, False), (700, 100, False), (0, 1000, True)],
    "twice, out of order": [(1000, 1000, True), (1000, 1000, False), (0, 1000, True)],
    "longer the second time": [(500, 500, True), (500, 1000, False), (0, 500, True)],
    "in order, all but a byte again": [(0, 1400, True), (1, 1400, False)],
}


def play(peer: Peer, script: Script) -> int:
    """Send the script's segments at the end of the stream; how many bytes that makes of it."""
    base, length = peer.sent.offset, max(at + size for at, size, _ in script)
    for at, size, right in script:
        peer.put(peer.data(base + at, size if right else peer.garbage(base + at, size)))
    peer.sent.offset += length
    peer.wait_queued(length)
    return length


def bytes_by_recv(peer: Peer, length: int) -> bytes:
    """Read with recv(2)."""
    peer.rx.settimeout(30)
    data = b""
    while len(data) < length:
        data += peer.rx.recv(length - len(data))
    return data


def bytes_by_zctap(flow: CraftedFlow, length: int) -> bytes:
    """Read with RECV_ZC."""
    data = b""
    while len(data) < length:
        chunks = flow.receiver.receive(length - len(data))
        data += b"".join(chunk.data for chunk in chunks)
        flow.receiver.give_back(chunks)
    return data


def difference(peer: Peer, base: int, data: bytes) -> bytes:
    """A byte for each byte of `data`, 0 where it is the stream's; the same for any stream."""
    right = peer.bytes_at(base, len(data))
    return bytes(seen ^ wanted and 1 for seen, wanted in zip(data, right, strict=True))


Compare = Callable[[list[Script]], None]


@pytest.fixture
def compare(make_peer: MakePeer, make_station: MakeStation, craft: Craft) -> Compare:
    """Plays scripts without zctap and with it: recv(2) and RECV_ZC must see the same bytes."""

    def run(scripts: list[Script]) -> None:
        peer, expected = make_peer(), []
        for script in scripts:
            base = peer.sent.offset
            expected.append(difference(peer, base, bytes_by_recv(peer, play(peer, script))))
        flow = craft(make_station())
        for script, wanted in zip(scripts, expected, strict=True):
            base = flow.peer.sent.offset
            data = bytes_by_zctap(flow, play(flow.peer, script))
            assert difference(flow.peer, base, data) == wanted, script

    return run


@contract("RECV-19", "BUF-2")
def test_overlaps(compare: Compare) -> None:
    """Of segments that overlap, RECV_ZC delivers the bytes that recv(2) does."""
    compare(list(OVERLAPS.values()))


@contract("RECV-19", "RECV-22", "BUF-2")
def test_random_overlaps(station: Station, craft: Craft, rng: random.Random) -> None:
    """Of segments anywhere, right and wrong, each byte is one that was sent for its place.

    Which of several is up to TCP, and recv(2) is asked on the same socket, with MSG_PEEK.
    """
    flow = craft(station)
    peer = flow.peer
    for _ in range(8):
        size, base = rng.randrange(200, 6000), peer.sent.offset
        script: Script = [(at, min(1400, size - at), True) for at in range(0, size, 1400)]
        for _ in range(10):
            start = rng.randrange(size)
            script.append((start, min(rng.randrange(1, 1400), size - start), False))
        rng.shuffle(script)
        play(peer, script)
        seen = peer.rx.recv(size, socket.MSG_PEEK)
        assert len(seen) == size
        assert bytes_by_zctap(flow, size) == seen, script
        right, wrong = peer.bytes_at(base, size), peer.garbage(base, size)
        wrongs: set[int] = set()
        for start, length, good in script:
            wrongs.update(() if good else range(start, start + length))
        for at, byte in enumerate(seen):
            assert byte == right[at] or (byte == wrong[at] and at in wrongs), (at, script)
