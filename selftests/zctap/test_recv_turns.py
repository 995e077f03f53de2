# SPDX-License-Identifier: GPL-2.0
"""RECV_ZC and the older ways to receive take turns on a socket (RECV-22)."""

import mmap
import os
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from fixtures.registration import taken_over
from fixtures.stations import Flow, MakeStation, Station
from lib.deadline import wait_until
from lib.tcp_mmap import TcpMapping
from lib.uring import PAGE, Memory
from lib.zerocopy import Region
from netns.fronts import redirected

contract = pytest.mark.contract

REGION = 64  # pages: soon turned over
MADV_REMOVE = 9  # asm-generic/mman-common.h

Step = Callable[[int], None]


@pytest.fixture
def small(make_station: MakeStation, prompt_frees: None) -> Station:
    """A region that is soon turned over."""
    return make_station(pages=REGION)


def turn_over(station: Station) -> None:
    """Let other data go through every page of the region."""
    station.flow(6, rcvbuf=32 << 10).transfer(3 * REGION * PAGE)


def load(flow: Flow, size: int) -> None:
    """Send, and wait until it lies in the socket."""
    queued = flow.tcp.queued()
    flow.tcp.send(size)
    flow.tcp.wait_queued(queued + size)


# -- pages that others hand out ----------------------------------------------------------------


@contract("RECV-22")
@pytest.mark.parametrize("size", [100, PAGE, 40_000])
def test_bytes_in_a_pipe_stay(small: Station, pipe: tuple[int, int], size: int) -> None:
    """What splice(2) has moved to a pipe stays what it was when the region is filled again."""
    flow = small.flow()
    load(flow, size)
    moved = os.splice(flow.tcp.rx.fileno(), pipe[1], size)
    assert moved > 0
    turn_over(small)
    flow.tcp.check.check(os.read(pipe[0], moved))
    flow.drain(size - moved)


@contract("RECV-22")
def test_bytes_in_a_pipe_outlive_the_ring(
    small: Station, make_station: MakeStation, pipe: tuple[int, int]
) -> None:
    """They also stay when the ring has been closed, and another turns the same memory over."""
    flow = small.flow()
    load(flow, 20_000)
    moved = os.splice(flow.tcp.rx.fileno(), pipe[1], 20_000)
    small.close_ring()
    other = make_station(register=False, region=small.region)
    taken_over(other)  # the ring is taken apart after close(2), by a kernel worker
    turn_over(other)
    flow.tcp.check.check(os.read(pipe[0], moved))
    flow.tcp.read(20_000 - moved)


@pytest.fixture(params=["udp", "unix"])
def datagrams(small: Station, request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """A connected datagram socket, which splice(2) knows nothing of."""
    if request.param == "unix":
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with ours, theirs:
            yield ours
        return
    rx = small.link.rx
    with rx.ns.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((rx.address(4), 0))
        sock.connect(sock.getsockname())
        yield sock


@contract("RECV-22")
@pytest.mark.parametrize("size", [100, PAGE, 40_000])
def test_bytes_in_a_pipe_by_way_of_a_sockmap(
    small: Station, datagrams: socket.socket, pipe: tuple[int, int], size: int
) -> None:
    """So does what a BPF program has moved to another socket, and splice(2) from there."""
    flow, moved = small.flow(), 0
    datagrams.setblocking(False)

    def all_moved() -> bool:
        nonlocal moved
        with suppress(BlockingIOError):
            moved += os.splice(datagrams.fileno(), pipe[1], size - moved)
        return moved == size

    with ExitStack() as undo:
        try:
            undo.enter_context(redirected(flow.tcp.rx, datagrams, parser=False, ingress=True))
        except OSError as error:
            pytest.skip(f"no redirection by a sockmap (CONFIG_BPF_STREAM_PARSER): {error}")
        flow.tcp.send(size)
        wait_until(all_moved, lambda: f"{moved} of {size} bytes have come by the other socket")
        turn_over(small)
        flow.tcp.check.check(os.read(pipe[0], size))


def map_and_turn_over(flow: Flow, frame: str, read: Step, turn: Callable[[], None]) -> None:
    """Map what can be mapped and read the rest; each piece must outlast a turn of the region.

    The turn comes when the rest has been read: until then the skb keeps all its pages.
    """
    left = 16 * PAGE
    # Full pages at the start of a frame are what TCP would map.
    for size in [left] if frame == "large" else [PAGE] * 16:
        load(flow, size)
    try:
        area = TcpMapping(flow.tcp.rx, left)
    except OSError as error:
        pytest.skip(f"no mmap of TCP sockets: {error}")
    try:
        while left:
            mapped, hint = area.receive()
            seen = bytes(mapped)
            flow.tcp.check.check(seen)
            left -= len(seen)
            step = min(left, hint or PAGE)
            read(step)
            left -= step
            turn()
            assert mapped == seen, f"{len(seen)} bytes that were mapped have changed"
            mapped.release()
    finally:
        area.close()


@contract("RECV-22")
@pytest.mark.parametrize("frame", ["large", "pages"])
def test_bytes_that_were_mapped_stay(
    make_station: MakeStation, prompt_frees: None, frame: str
) -> None:
    """What TCP_ZEROCOPY_RECEIVE has mapped stays what it was; what it has not can be read."""
    # Private memory would be kept out by vm_insert_page(), which takes no anonymous page.
    with Region(REGION, mmap.MAP_SHARED) as region:
        station = make_station(region=region)
        flow = station.flow()
        flow.transfer(60_000)  # opens the congestion window
        map_and_turn_over(flow, frame, flow.drain, lambda: turn_over(station))
        station.close()


@contract("RECV-22", "BUF-5")
def test_bytes_in_pages_without_a_file_stay(make_station: MakeStation, prompt_frees: None) -> None:
    """So it is when the region's file has been truncated: as pages go, nobody's any more."""
    with Memory(REGION * PAGE, mmap.MAP_SHARED) as memory:
        station = make_station(region=Region(REGION, memory=memory))
        flow, other = station.flow(), station.flow(6, rcvbuf=32 << 10)
        flow.transfer(60_000)
        # From here on the payload is not where the user sees the region.
        memory.advise(MADV_REMOVE)

        def turn() -> None:
            for _ in range(3 * REGION // 2):
                other.tcp.send(2 * PAGE)
                other.tcp.read(2 * PAGE)

        map_and_turn_over(flow, "pages", flow.tcp.read, turn)
        station.close()


# -- turns ---------------------------------------------------------------------------------------


class Turns:
    """Ways to take some of what lies in the socket; each says how much it took."""

    def __init__(self, flow: Flow, pipe: tuple[int, int]) -> None:
        self.flow, self.pipe = flow, pipe
        self.fd = flow.tcp.rx.fileno()

    def recv_zc(self, size: int) -> int:
        """RECV_ZC."""
        chunks = self.flow.accept(self.flow.receiver.receive(size))
        self.flow.receiver.give_back(chunks)
        return sum(len(chunk.data) for chunk in chunks)

    def recv(self, size: int) -> int:
        """recv(2)."""
        data = self.flow.tcp.rx.recv(size)
        self.flow.tcp.check.check(data)
        return len(data)

    def peek(self, size: int) -> int:
        """recv(2) with MSG_PEEK, which takes nothing."""
        check = self.flow.tcp.check
        check.pattern.check(check.offset, self.flow.tcp.rx.recv(size, socket.MSG_PEEK))
        return 0

    def discard(self, size: int) -> int:
        """recv(2) with MSG_TRUNC, which for TCP throws away what it takes."""
        count = self.flow.tcp.rx.recv_into(bytearray(size), size, socket.MSG_TRUNC)
        self.flow.tcp.check.offset += count
        return count

    def read(self, size: int) -> int:
        """readv(2)."""
        parts = [bytearray(-(-size // 2)), bytearray(size)]
        count = os.readv(self.fd, parts)
        self.flow.tcp.check.check(b"".join(parts)[:count])
        return count

    def splice(self, size: int) -> int:
        """splice(2) to a pipe, and read from there."""
        count = os.splice(self.fd, self.pipe[1], min(size, 16 * PAGE))
        self.flow.tcp.check.check(os.read(self.pipe[0], count))
        return count


@contract("RECV-22", "RECV-29")
def test_turns_at_random(source: Station, pipe: tuple[int, int], rng: random.Random) -> None:
    """All ways to read, in any order, see each byte once and in its place."""
    flow, total, left = source.flow(rng.choice((4, 6))), 150_000, 150_000
    turns, taken = Turns(flow, pipe), 0
    ways: list[Callable[[int], int]] = [
        turns.recv_zc,
        turns.recv_zc,
        turns.recv,
        turns.peek,
        turns.discard,
        turns.read,
        turns.splice,
    ]
    while taken < total:
        left -= flow.tcp.feed(min(left, rng.choice((1, 500, 1448, 20_000))))
        if not flow.tcp.queued():
            flow.tcp.wait_queued(1)
        taken += rng.choice(ways)(rng.choice((1, 100, 1447, 1448, PAGE, 30_000)))


@contract("RECV-22")
@pytest.mark.parametrize("size", [1, 1000, 20_000])
def test_each_in_turn(station: Station, pipe: tuple[int, int], size: int) -> None:
    """RECV_ZC goes on where recv(2) and splice(2) stopped, in the middle of a page or a frame."""
    flow = station.flow()
    turns = Turns(flow, pipe)
    load(flow, 5 * size)
    for way in (turns.recv_zc, turns.recv, turns.recv_zc, turns.splice, turns.recv_zc):
        left = size
        while left:
            left -= way(left)


@pytest.mark.zero_copy
@contract("RECV-21", "RECV-22")
def test_data_before_the_registration(make_bare_station: MakeStation) -> None:
    """What arrived before the queue was bound is copied, what comes after lies in the region."""
    station = make_bare_station()
    flow = station.flow()
    load(flow, 10_000)
    station.register()
    load(flow, 10_000)
    flow.drain(10_000)
    assert flow.tally.copied == 10_000
    flow.drain(10_000)
    assert flow.tally.zero_copy > 9000
