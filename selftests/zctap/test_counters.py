# SPDX-License-Identifier: GPL-2.0
"""The counters, against what the user and TCP have counted themselves."""

import errno
import random
import socket
from dataclasses import replace

import pytest

from fixtures.exhausted import SEGMENT, Exhausted
from fixtures.links import UNUSED_QUEUE
from fixtures.stations import MakeStation, Station
from lib.zerocopy import Chunk
from netns.tcp_info import segments

contract = pytest.mark.contract
pytestmark = [pytest.mark.zero_copy, pytest.mark.usefixtures("prompt_frees")]


@contract("DBG-5", "DEV-3", "BUF-2")
def test_every_buffer_that_the_device_took(station: Station) -> None:
    """It took a buffer for each segment of a page or less, and those that it has posted now."""
    flow, entry = station.flow(), station.debug()
    for _ in range(100):
        flow.tcp.send(SEGMENT)
        flow.drain(SEGMENT)
    station.at_rest()
    counters, accounting = entry.counters(), entry.accounting()
    taken = counters.from_freelist + counters.from_fill
    assert taken == segments(flow.tcp.rx).received + accounting.driver


@contract("DBG-5", "RECV-29", "BUF-2")
def test_pieces_and_references(station: Station, rng: random.Random) -> None:
    """Pieces and bytes are those reported; of the pieces, those not given back are referenced."""
    flow, entry, total = station.flow(), station.debug(), 300_000
    held: list[Chunk] = []
    left, pieces = total - flow.tcp.feed(total), 0
    while flow.tally.total < total:
        chunks = flow.accept(flow.receiver.receive(rng.choice([1, 700, 5000, 60_000])))
        pieces += sum(chunk.zero_copy for chunk in chunks)
        left -= flow.tcp.feed(left)
        held += chunks
        rng.shuffle(held)
        cut = rng.randrange(len(held) + 1) if len(held) < 60 else len(held) // 2
        flow.receiver.give_back(held[cut:])
        del held[cut:]
    station.at_rest()
    counters, users = entry.counters(), sum(line.user for line in entry.refs())
    assert (counters.zc_iovs, counters.zc_bytes) == (pieces, flow.tally.zero_copy)
    assert counters.copy_iovs == flow.tally.pieces - pieces
    assert counters.copy_bytes == flow.tally.copied
    assert (counters.fill_invalid, counters.fill_not_owned, counters.recv_enobufs) == (0, 0, 0)
    # A piece is one reference, an entry that was taken one less; the others lie in the ring.
    assert sum(chunk.zero_copy for chunk in held) <= users <= pieces
    flow.receiver.give_back(held)


@contract("DBG-5", "FILL-2")
def test_where_buffers_came_from(exhausted: Exhausted) -> None:
    """From the freelist each page once, then one for each entry that freed a page."""
    pages = exhausted.station.region.pages
    for _ in range(3):
        exhausted.give(0, 5, 6)
        assert len(exhausted.arrivals()) == 3
    counters = exhausted.entry.counters()
    assert (counters.from_freelist, counters.from_fill) == (pages, 9)
    assert (counters.zc_iovs, counters.zc_bytes) == (pages + 9, (pages + 9) * SEGMENT)


@contract("DBG-5", "DEV-4")
def test_frames_that_found_no_buffer(exhausted: Exhausted) -> None:
    """alloc_fail rises when a frame is dropped for want of a buffer."""
    for _ in range(3):
        before = exhausted.entry.counters().alloc_fail
        assert exhausted.offer() is None
        after = exhausted.entry.counters().alloc_fail
        assert after > before, f"expected more than {before} after a drop, seen {after}"


@contract("DBG-5", "BUF-3")
def test_buffers_that_came_free_without_the_user(station: Station) -> None:
    """recycled rises when what lies in the region is read by recv(2) alone."""
    flow, entry = station.flow(), station.debug()
    for _ in range(3):
        before = entry.counters().recycled
        flow.tcp.send(SEGMENT)
        flow.tcp.read(SEGMENT)
        station.at_rest()
        after = entry.counters().recycled
        assert after > before, f"expected more than {before} after a read, seen {after}"


@contract("DBG-5", "RECV-11")
def test_want_of_copy_buffers(make_station: MakeStation) -> None:
    """recv_enobufs counts each call that failed for want of a copy buffer, and nothing else."""
    station = make_station(queue=UNUSED_QUEUE, copies=0)
    flow, entry = station.flow(), station.debug()
    flow.tcp.send(SEGMENT)
    flow.tcp.wait_queued(SEGMENT)
    for times in range(1, 4):
        assert flow.receiver.run(flow.receiver.sqe(SEGMENT)).error == errno.ENOBUFS
        assert entry.counters().recv_enobufs == times
    station.copy.give(0)
    flow.refused(replace(flow.receiver.sqe(SEGMENT), addr=1 << 60), errno.EFAULT)
    flow.drain(SEGMENT)
    flow.refused(flow.receiver.sqe(SEGMENT, msg_flags=socket.MSG_DONTWAIT), errno.EAGAIN)
    counters = entry.counters()
    assert counters.recv_enobufs == 3
    assert (counters.copy_iovs, counters.copy_bytes) == (flow.tally.pieces, SEGMENT)
    assert (counters.zc_iovs, counters.zc_bytes) == (0, 0)
