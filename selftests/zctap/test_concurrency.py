# SPDX-License-Identifier: GPL-2.0
"""Several CPUs at work on one ring, region and queue: nothing lost, doubled or out of place.

A process sends, so frames arrive while the threads here do what they do. Each thread's doings
come from the run's seed and are bounded by work; how they interleave is left to the machine.
"""

import errno
import queue
import random
import select
import socket
from collections.abc import Callable

import pytest

from fixtures.feeding import Feed
from fixtures.links import UNUSED_QUEUE
from fixtures.sampling import Watch
from fixtures.stations import FILL, Flow, MakeStation, Station
from lib.crew import Crew
from lib.deadline import scaled, wait_until
from lib.zctap import FillRing, Ifq, Zctap
from lib.zerocopy import Chunk
from netns import Link

contract = pytest.mark.contract
pytestmark = [pytest.mark.zero_copy, pytest.mark.usefixtures("prompt_frees")]
PAGES, TOTAL = 64, 1 << 20


def receive_now(flow: Flow, readlen: int, *, copies_may_be_out: bool = False) -> list[Chunk]:
    """What lies in the socket, up to `readlen` bytes; [] if there is nothing.

    It does not wait in the ring, which other threads want to use, too. If one of them gives the
    copy buffers back, there may be none just now: [] as well.
    """
    sqe = flow.receiver.sqe(readlen, msg_flags=socket.MSG_DONTWAIT)
    received = flow.receiver.run(sqe)
    if received.error == errno.EAGAIN or (copies_may_be_out and received.error == errno.ENOBUFS):
        return []
    assert received.chunks, f"{received.cqe} after {flow.tally.total} bytes"
    return flow.accept(received)


def until(flow: Flow, total: int, crew: Crew, step: Callable[[], None]) -> None:
    """Repeat a step, when there is something to read, until `total` bytes have been received."""

    def go_on() -> bool:
        crew.check()
        select.select([flow.tcp.rx], [], [], 0.05)
        with crew.lock:
            before = flow.tcp.check.offset
            step()
        return flow.tcp.check.offset > before

    while flow.tcp.check.offset < total:
        wait_until(go_on, lambda: f"{flow.tcp.check.offset} of {total} bytes, then nothing", 20)


def received(flows: list[Flow], mark: int, crew: Crew) -> None:
    """Wait until these flows have received so many bytes together."""

    def so_many() -> bool:
        crew.check()
        return sum(flow.tally.total for flow in flows) >= mark

    wait_until(so_many, lambda: f"{mark} bytes: {[flow.tally.total for flow in flows]}", 20)


@contract("BUF-2", "BUF-3", "BUF-4", "FILL-1", "RECV-19")
def test_other_threads_give_back(
    make_station: MakeStation, watch: Watch, feed: Feed, rng: random.Random
) -> None:
    """Two receivers and a thread that returns their pages in any order, all on one ring."""
    station = make_station(pages=PAGES)
    flows = [station.flow(4, rcvbuf=48 << 10), station.flow(6, rcvbuf=48 << 10)]
    feed([flow.tcp for flow in flows], TOTAL)
    watch(station)
    done: queue.SimpleQueue[list[Chunk] | None] = queue.SimpleQueue()

    def receive(flow: Flow, draw: random.Random) -> None:
        def step() -> None:
            readlen = draw.choice([500, 4096, 40_000, 1 << 20])
            done.put(receive_now(flow, readlen, copies_may_be_out=True))

        until(flow, TOTAL, crew, step)
        done.put(None)

    def give_back(draw: random.Random) -> None:
        running, held = len(flows), list[Chunk]()
        while running:
            got = done.get(timeout=scaled(20))
            running -= got is None
            held += got or []
            draw.shuffle(held)
            keep = draw.randrange(12) if running else 0
            with crew.lock:
                flows[0].receiver.give_back(held[keep:])
            del held[keep:]

    with Crew() as crew:
        for flow in flows:
            crew.start(receive, flow, random.Random(rng.getrandbits(32)))
        crew.start(give_back, random.Random(rng.getrandbits(32)))
    counters = station.debug().counters()
    assert counters.zc_bytes == sum(flow.tally.zero_copy for flow in flows)
    assert (counters.fill_invalid, counters.fill_not_owned) == (0, 0)


@contract("BUF-3", "BUF-4", "RECV-19")
def test_sockets_closed_while_frames_arrive(
    make_station: MakeStation, watch: Watch, feed: Feed, rng: random.Random
) -> None:
    """Of six streams four are closed at some point by another thread; the others come whole."""
    # What lies unread in four sockets leaves pages enough for the others.
    station, total = make_station(pages=512), 200_000
    flows = [station.flow(rng.choice([4, 6]), rcvbuf=32 << 10) for _ in range(6)]
    feed([flow.tcp for flow in flows], total)
    watch(station)
    doomed, kept = flows[:4], flows[4:]
    marks = sorted(rng.randrange(2 * total) for _ in doomed)

    def close() -> None:
        for flow, mark in zip(doomed, marks, strict=True):
            received(kept, mark, crew)
            flow.tcp.rx.close()

    def receive(flow: Flow) -> None:
        until(flow, total, crew, lambda: flow.receiver.give_back(receive_now(flow, 1 << 20)))

    with Crew() as crew:
        for flow in kept:
            crew.start(receive, flow)
        crew.start(close)


@pytest.fixture
def explicit(zctap: Zctap) -> None:
    """Skips on a kernel that unregisters an ifq only with its ring."""
    if zctap.unregister_ifq is None:
        pytest.skip("this kernel has no UNREGISTER_IFQ")


def bind(station: Station, fill: FillRing) -> bool:
    """Bind the region once more, with another fill ring; False while it still drains."""
    try:
        with station.link.rx.ns.entered():
            station.ifq = Ifq(
                station.ring,
                station.zctap,
                station.region,
                ifindex=station.link.rx.ifindex,
                queue_id=station.queue,
                fill_bgid=fill.bgid,
            )
    except FileExistsError:
        return False
    station.entry, station.fill = station.ifq.entry, fill
    return True


@contract("REG-20", "REL-4", "REL-6", "RECV-21", "BUF-4")
def test_ifq_comes_and_goes_under_a_stream(
    make_station: MakeStation, watch: Watch, feed: Feed, rng: random.Random, explicit: None
) -> None:
    """One thread unregisters and registers while another receives: every byte comes, in place."""
    station = make_station(pages=PAGES)
    flow = station.flow(rcvbuf=48 << 10)
    sender = feed([flow.tcp], 2 * TOTAL)
    marks = sorted(rng.randrange(TOTAL // 8, 2 * TOTAL - TOTAL // 8) for _ in range(6))

    def come_and_go() -> None:
        for number, mark in enumerate(marks):
            watch(station)
            received([flow], mark, crew)
            assert station.ifq
            station.ifq.close()  # in the midst of whatever the receiver is doing
            # The entries left in the old one name pages that the user will have again.
            fill = FillRing(station.ring, FILL + 100 + number, station.region)

            def bound(fill: FillRing = fill) -> bool:
                crew.check()
                with crew.lock:  # he holds no piece: else he would see it overwritten (REL-8)
                    return bind(station, fill)

            wait_until(bound, station.debug().dump, 20)

    def step() -> None:
        flow.receiver.fill = station.fill
        flow.receiver.give_back(receive_now(flow, 1 << 20))

    with Crew() as crew:
        crew.start(come_and_go)
        until(flow, 2 * TOTAL, crew, step)
    sender.expect("sent")
    assert flow.tally.zero_copy
    assert flow.tally.copied


@contract("REG-20", "BUF-4", "RECV-19", "REL-6")
def test_other_ifq_comes_and_goes(
    make_station: MakeStation, watch: Watch, feed: Feed, rng: random.Random, explicit: None
) -> None:
    """Another ring binds and leaves the other queue meanwhile: the stream stays zero-copy."""
    station, other = make_station(pages=PAGES), make_station(pages=8, queue=UNUSED_QUEUE)
    flow = station.flow(rcvbuf=48 << 10)
    feed([flow.tcp], TOTAL)
    watch(station)
    assert other.fill
    fill, turns = other.fill, 0

    def come_and_go() -> None:
        nonlocal turns
        while flow.tally.total < TOTAL:
            crew.check()
            assert other.ifq
            other.ifq.close()
            wait_until(lambda: bind(other, fill), other.debug().dump, 20)
            turns += 1

    with Crew() as crew:
        crew.start(come_and_go)
        until(flow, TOTAL, crew, lambda: flow.receiver.give_back(receive_now(flow, 1 << 20)))
    assert turns
    counters = station.debug().counters()
    assert (counters.zc_bytes, counters.copy_bytes) == (flow.tally.zero_copy, flow.tally.copied)
    assert flow.tally.zero_copy > flow.tally.copied


@contract("FILL-7", "FILL-4", "BUF-4")
def test_fill_group_goes_under_a_stream(
    make_station: MakeStation, watch: Watch, feed: Feed, rng: random.Random, explicit: None
) -> None:
    """The fill ring is unregistered while the device takes from it; what arrived is right."""
    station = make_station(pages=32)
    flow = station.flow(rcvbuf=48 << 10)
    sender = feed([flow.tcp], TOTAL)
    watch(station)
    mark = rng.randrange(TOTAL // 8, TOTAL // 2)
    while flow.tally.total < mark:
        flow.receiver.give_back(flow.accept(flow.receiver.receive()))
    assert station.fill
    assert station.ifq
    station.fill.unregister()
    # The queue may well have no page any more, all of them being named in a ring that is gone.
    station.ifq.close()
    flow.tcp.read(TOTAL - flow.tally.total)
    sender.expect("sent")


@contract("REL-3", "BUF-4")
def test_device_goes_down_and_up_under_a_stream(
    own_link: Link, make_station: MakeStation, watch: Watch, feed: Feed, rng: random.Random
) -> None:
    """The receiving device is taken down and up twice; the stream comes whole, zero-copy after."""
    station = make_station(own_link, pages=PAGES)
    flow, rx = station.flow(rcvbuf=48 << 10), own_link.rx
    sender = feed([flow.tcp], TOTAL)
    watch(station)
    marks = sorted(rng.randrange(TOTAL // 16, TOTAL // 2) for _ in range(2))

    def down_and_up() -> None:
        for mark in marks:
            received([flow], mark, crew)
            with rx.netlink() as ip:
                ip.link("set", index=rx.ifindex, state="down")
                ip.link("set", index=rx.ifindex, state="up")

    with Crew() as crew:
        crew.start(down_and_up)
        until(flow, TOTAL, crew, lambda: flow.receiver.give_back(receive_now(flow, 1 << 20)))
    sender.expect("sent")
    assert station.debug().state().state == "active"
    before = flow.tally.zero_copy
    again = station.flow()
    again.transfer(50_000)
    assert again.tally.zero_copy
    assert before
