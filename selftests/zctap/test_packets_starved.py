# SPDX-License-Identifier: GPL-2.0
"""No buffer for a frame, or no room for its bytes: it is dropped, and not acknowledged.

The peer sends nothing again by itself, so a test sees just which frames were taken.
"""

import socket

import pytest

from fixtures.peers import Craft, CraftedFlow
from fixtures.stations import MakeStation, Station
from lib.deadline import wait_until
from lib.uring import PAGE
from lib.zctap import Debugfs
from netns import ethtool
from netns.peer import Wire, offload

contract = pytest.mark.contract
both_families = pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])
pytestmark = pytest.mark.usefixtures("prompt_frees")
PAGES, SIZE = 8, 1000


@pytest.fixture
def small(make_station: MakeStation) -> Station:
    """A region of a few pages."""
    return make_station(pages=PAGES)


def fill_up(station: Station, flow: CraftedFlow) -> int:
    """Send segments that nobody reads until one is dropped for want of a buffer.

    The bytes that lie in the socket then; what follows them in the stream has not been taken.
    """
    peer, dropped = flow.peer, ethtool.drops(station.link.rx)
    read = flow.tally.total

    def known() -> bool:
        taken = peer.queued() == peer.sent.offset - read
        return taken or ethtool.drops(station.link.rx) > dropped

    for _ in range(4 * PAGES):
        peer.put(peer.next(SIZE))
        wait_until(known, station.debug().dump, 5)
        if peer.queued() < peer.sent.offset - read:
            peer.sent.offset -= SIZE
            return peer.queued()
    raise AssertionError(f"no drop after {4 * PAGES} frames\n{station.debug().dump()}")


def send_again(flow: CraftedFlow, size: int) -> None:
    """Send the next bytes as TCP would, again and again, and receive them."""
    peer = flow.peer
    at, unread = peer.sent.offset, peer.queued()

    def come() -> bool:
        peer.put(peer.data(at, size))
        return peer.queued() == unread + size

    wait_until(come, lambda: f"not taken: {size} bytes from {at} on", 5)
    peer.sent.offset += size
    flow.drain(unread + size)


@contract("FILL-5", "RECV-19")
@both_families
def test_what_waits_for_a_missing_segment_leaves_it_room(
    small: Station, craft: Craft, family: int
) -> None:
    """Segments behind a missing one do not use up the region, as then neither side could go on.

    Nobody can read them, so nobody gives their buffers back.
    """
    flow = craft(small, family)
    peer, total = flow.peer, (2 * PAGES + 1) * SIZE
    start = peer.sent.offset
    for at in range(SIZE, total, SIZE):
        peer.put(peer.data(start + at, SIZE))

    def missing_one_in() -> bool:
        peer.put(peer.data(start, SIZE))
        return peer.queued() >= SIZE

    def seen() -> str:
        return f"{flow.tally.total + peer.queued()} of {total} bytes taken\n{Debugfs().dump()}"

    wait_until(missing_one_in, lambda: f"the missing segment is kept out: {seen()}", 5)
    peer.sent.offset += total

    def rest() -> bool:
        flow.drain(peer.queued())
        for at in range(flow.tally.total, total, SIZE):  # those that found no buffer
            peer.put(peer.data(start + at, min(SIZE, total - at)))
        return flow.tally.total == total

    wait_until(rest, seen, 5)


@contract("FILL-5", "DEV-4", "RECV-19")
@both_families
def test_dropped_segments_come_again(small: Station, craft: Craft, family: int) -> None:
    """A frame without a buffer is dropped and not acknowledged; sent again later, it is taken."""
    flow = craft(small, family)
    for _ in range(2):
        waiting = fill_up(small, flow)
        assert waiting == flow.peer.sent.offset - flow.tally.total
        flow.peer.collect()
        assert flow.peer.acked <= flow.peer.sent.offset
        flow.drain(waiting)
        send_again(flow, SIZE)
        flow.peer.wait_acked(flow.peer.sent.offset)


@contract("DEV-4", "BUF-3", "FILL-5")
def test_frame_that_finds_too_few_buffers(make_station: MakeStation, craft: Craft) -> None:
    """A frame of more pages than are left is dropped as a whole, counts once and keeps no page."""
    station = make_station(pages=16)
    flow = craft(station, rcvbuf=1 << 20)
    peer, sizes = flow.peer, [6 * PAGE, 6 * PAGE]
    for size in sizes:
        peer.put(peer.next(size, summed=False), offload=offload(1400))
    peer.wait_queued(sum(sizes))
    dropped, at = ethtool.drops(station.link.rx), peer.sent.offset
    for _ in range(3):
        peer.put(peer.data(at, 6 * PAGE, summed=False), offload=offload(1400))
    wait_until(lambda: ethtool.drops(station.link.rx) >= dropped + 3, station.debug().dump, 5)
    assert peer.queued() == sum(sizes)
    peer.put(peer.next(2 * PAGE, summed=False), offload=offload(1400))
    peer.wait_queued(sum(sizes) + 2 * PAGE)

    def counted() -> int:
        return ethtool.drops(station.link.rx) - dropped

    # Once each; a device that shows drops in ip -s link and in ethtool, too, is read twice.
    wait_until(
        lambda: counted() in (3, 6),
        lambda: f"3 frames dropped: expected 3 or twice that, counted {counted()}",
        5,
    )
    flow.drain(sum(sizes) + 2 * PAGE)
    assert flow.tally.copied == 0


@contract("DEV-1", "DEV-4", "RECV-15")
@both_families
def test_headers_need_no_buffer(small: Station, craft: Craft, family: int) -> None:
    """With no buffer left, a handshake, an acknowledgement, a keep-alive and FIN get through."""
    flow = craft(small, family)
    peer, waiting = flow.peer, fill_up(small, flow)
    other = craft(small, family)
    other.peer.finish()
    other.peer.wait_acked(1)
    peer.collect()
    # First as Ethernet has them, which pads to frames of 60 bytes: no answer has been due so far.
    for padding in (b"padded", b""):

        def answered(frame: bytes = peer.data(-1) + padding) -> bool:
            peer.put(frame)  # TCP answers two a second
            return bool(peer.collect())

        wait_until(answered, f"no answer to a keep-alive with {padding!r} behind it", 5)
    peer.put(*[peer.data(peer.sent.offset)] * 3)
    peer.finish()
    peer.wait_acked(peer.sent.offset + 1)
    for each, size in ((flow, waiting), (other, 0)):
        each.drain(size)
        assert each.receiver.receive() == []


@contract("DEV-2", "DEV-4")
@both_families
def test_others_need_no_buffer(small: Station, craft: Craft, wire: Wire, family: int) -> None:
    """With no buffer left, what is no TCP gets through."""
    flow, path, protocol = craft(small, family), wire.path(family), 253
    waiting = fill_up(small, flow)
    kind = {4: socket.AF_INET, 6: socket.AF_INET6}[family]
    with small.link.rx.ns.socket(kind, socket.SOCK_RAW, protocol) as sock:
        wire.put(path.ethernet(path.ip(b"body" * 200, protocol)))
        sock.settimeout(30)
        assert sock.recv(2000).endswith(b"body" * 200)
    flow.drain(waiting)


@contract("RECV-19", "BUF-3", "FILL-5")
@both_families
def test_window_is_closed(station: Station, craft: Craft, family: int) -> None:
    """What comes when the receive buffer is full, probes too, is dropped, and so are its pages."""
    flow = craft(station, family, rcvbuf=8 << 10)
    peer, entry = flow.peer, station.debug()
    while peer.acked == peer.sent.offset:
        assert peer.sent.offset < 1 << 20, "the window is never closed"
        peer.put(peer.next(SIZE))
        peer.probe()
    peer.sent.offset = taken = peer.acked
    held = entry.accounting().skb
    for size in (1, SIZE, 1):
        peer.put(*[peer.data(taken, peer.garbage(taken, size))] * 4)
    for ahead in (1, SIZE, 100 * SIZE):
        peer.put(peer.data(taken + ahead, SIZE))
    peer.probe()
    assert (peer.acked, peer.queued()) == (taken, taken)
    wait_until(
        lambda: station.flush() or entry.accounting().skb <= held,
        lambda: f"held {held} pages before\n{entry.dump()}",
    )
    flow.drain(taken)
    send_again(flow, SIZE)
    for _ in range(4):
        peer.feed(SIZE)
        flow.drain(SIZE)


@contract("DEV-4", "DEV-1")
@both_families
def test_frame_that_finds_just_enough_buffers(
    make_station: MakeStation, craft: Craft, family: int
) -> None:
    """A frame that fills every buffer there is, to the last byte, is taken."""
    station = make_station(pages=6)
    flow = craft(station, family, rcvbuf=1 << 20)
    for size in (6 * PAGE, 6 * PAGE - 1):
        frame = flow.peer.next(size, summed=False)
        flow.peer.put(frame, offload=offload(1400, family=family))
        flow.peer.wait_queued(size)
        flow.drain(size)
        station.at_rest()
