# SPDX-License-Identifier: GPL-2.0
"""Requests that are cancelled, or whose ring or process goes: nothing leaks (RECV-17, 29)."""

import errno
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from fixtures.links import LinkPool
from fixtures.stations import META, Flow, MakeStation, Station
from lib.child import Child, Hear, Say
from lib.deadline import wait_until
from lib.uring import Cancel, Cqe, RecvSend, Ring, Setup, Sqe, SqeFlag, op
from lib.zctap import Debugfs, Zctap, wait_gone
from lib.zctap.metadata import MetadataRing
from netns import Connection, Link

contract = pytest.mark.contract

DEFERRED = Setup.SINGLE_ISSUER | Setup.DEFER_TASKRUN
ANY = Cancel.ANY | Cancel.ALL

Armed = Callable[[Flow], Sqe]

# How a request waits. Those that select their metadata need the fixture `pool`.
ARMED: dict[str, Armed] = {
    "plain": lambda flow: flow.receiver.sqe(1000),
    "poll-first": lambda flow: replace(flow.receiver.sqe(1000), ioprio=RecvSend.POLL_FIRST),
    "async": lambda flow: flow.receiver.sqe(1000).with_flags(SqeFlag.ASYNC),
    "select": lambda flow: flow.receiver.sqe_select(1000, META),
    "multishot": lambda flow: replace(
        flow.receiver.sqe_select(1000, META), ioprio=RecvSend.MULTISHOT
    ),
    "multishot-async": lambda flow: replace(
        flow.receiver.sqe_select(1000, META), ioprio=RecvSend.MULTISHOT
    ).with_flags(SqeFlag.ASYNC),
}
every_armed = pytest.mark.parametrize("armed", ARMED.values(), ids=list(ARMED))


@pytest.fixture
def pool(station: Station) -> MetadataRing:
    """Metadata buffers for those that select."""
    return MetadataRing(station.ring, META, 4, 1024)


def arm(ring: Ring, sqe: Sqe) -> int:
    """Submit a request that waits for data."""
    request = ring.push(sqe)
    ring.submit()
    assert ring.reap() == []
    return request


def cancel(ring: Ring, request: int) -> Cqe:
    """Cancel it until it completes: on its way to a worker and back it cannot be found."""
    seen: list[Cqe] = []

    def completed() -> bool:
        ring.run(op.cancel(request))
        seen.extend(ring.reap())
        return bool(seen)

    wait_until(completed, "the cancelled request's completion")
    (cqe,) = seen
    assert cqe.user_data == request
    return cqe


@contract("RECV-17", "RECV-29", "RECV-30")
@every_armed
def test_cancelled_while_it_waits(station: Station, pool: MetadataRing, armed: Armed) -> None:
    """It completes once with ECANCELED, and data that comes later is not lost."""
    flow = station.flow()
    cqe = cancel(station.ring, arm(station.ring, armed(flow)))
    assert (cqe.error, cqe.more) == (errno.ECANCELED, False)
    pool.used(cqe)
    flow.transfer(1000)
    assert station.ring.reap() == []


CANCEL: dict[str, Callable[[Flow, int], Sqe]] = {
    "user-data": lambda _flow, request: op.cancel(request),
    "user-data-all": lambda _flow, request: op.cancel(request, Cancel.ALL),
    "fd": lambda flow, _request: op.cancel_fd(flow.tcp.rx.fileno()),
    "fd-all": lambda flow, _request: op.cancel_fd(flow.tcp.rx.fileno(), Cancel.ALL),
    "any": lambda _flow, _request: op.cancel(0, Cancel.ANY),
    "any-all": lambda _flow, _request: op.cancel(0, ANY),
    "fixed-file": lambda _flow, _request: op.cancel_fd(0, Cancel.FD_FIXED),
}


@contract("RECV-17", "RECV-23")
@pytest.mark.parametrize("how", CANCEL.values(), ids=list(CANCEL))
def test_ways_to_cancel(station: Station, how: Callable[[Flow, int], Sqe]) -> None:
    """By user_data, by descriptor, by fixed file, whatever there is: each finds the request."""
    flow = station.flow()
    station.ring.register_files([flow.tcp.rx.fileno()])
    sqe, flags = flow.receiver.sqe(1000), how(flow, 0).op_flags
    if flags & Cancel.FD_FIXED:
        sqe = replace(sqe, fd=0, flags=SqeFlag.FIXED_FILE)
    request = arm(station.ring, sqe)
    result = station.ring.run(how(flow, request)).res
    assert result == (1 if flags & ANY else 0)  # these say how many
    assert station.ring.wait_for(request).error == errno.ECANCELED
    flow.transfer(1000)


@contract("RECV-17")
def test_all_on_a_socket_are_cancelled(station: Station) -> None:
    """Several requests on one socket are cancelled together, those on another are not."""
    flow, other = station.flow(), station.flow(6)
    requests = {station.ring.push(flow.receiver.sqe(100)) for _ in range(3)}
    spared = station.ring.push(other.receiver.sqe(100))
    station.ring.submit()
    assert station.ring.run(op.cancel_fd(flow.tcp.rx.fileno(), Cancel.ALL)).res == 3
    cqes = station.ring.wait(3)
    assert {cqe.user_data for cqe in cqes} == requests
    assert {cqe.error for cqe in cqes} == {errno.ECANCELED}
    other.tcp.send(100)
    received = other.receiver.decode(station.ring.wait_for(spared))
    other.receiver.give_back(other.accept(received))
    other.drain(100 - received.length)


@contract("RECV-17", "RECV-29")
def test_cancelled_after_its_completion(station: Station) -> None:
    """A request that has completed is not found any more, and keeps its data."""
    flow = station.flow()
    flow.tcp.send(100)
    flow.tcp.wait_queued(100)
    request = station.ring.push(flow.receiver.sqe(100))
    killer = station.ring.push(op.cancel(request))
    assert station.ring.wait_for(killer).error == errno.ENOENT
    received = flow.receiver.decode(station.ring.wait_for(request))
    flow.receiver.give_back(flow.accept(received))
    assert received.length == 100


@contract("RECV-17", "RECV-29")
@pytest.mark.parametrize(
    "armed", [ARMED["select"], ARMED["multishot"]], ids=["single", "multishot"]
)
@pytest.mark.parametrize("ring_flags", [0, DEFERRED], ids=["plain", "deferred"])
def test_cancelled_as_data_arrives(
    make_station: MakeStation, armed: Armed, ring_flags: int, rng: random.Random
) -> None:
    """Of data and cancellation either may be first: the bytes come with it, or with the next."""
    station = make_station(ring_flags=ring_flags)
    pool, flow, due = MetadataRing(station.ring, META, 4, 1024), station.flow(), 0
    for _ in range(20):
        size = rng.choice((1, 100, 1000))
        request = station.ring.push(armed(flow))
        station.ring.submit()
        first = rng.random() < 0.7
        if first:
            flow.tcp.send(size)
        killer = station.ring.push(op.cancel(request))
        station.ring.submit()
        if not first:
            flow.tcp.send(size)
        due += size
        found = station.ring.wait_for(killer).error
        assert found in (0, errno.ENOENT, errno.EALREADY)
        while True:
            cqe = station.ring.wait_for(request)
            if cqe.res > 0:
                received = flow.receiver.decode(cqe, pool.used(cqe))
                due -= received.length
                flow.receiver.give_back(flow.accept(received))
                if cqe.buffer_id is not None:
                    pool.give(cqe.buffer_id)
            else:
                assert cqe.error == errno.ECANCELED
                pool.used(cqe)
            if not cqe.more:
                break
    flow.drain(due)


@pytest.mark.own_sender
@contract("RECV-17", "RECV-29")
def test_interrupted_while_it_takes_its_data(station: Station) -> None:
    """What another request's data interrupts reports what it has taken, or takes nothing.

    One system call sends, which wakes the other request and leaves the task with work to do, and
    then receives.
    """
    flow, other = station.flow(), station.flow()
    for _ in range(5):
        flow.tcp.send(10_000)
        flow.tcp.wait_queued(10_000)
        woken = arm(station.ring, other.receiver.sqe(1000))
        sent = station.ring.push(op.send(other.tcp.tx.fileno(), other.tcp.sent.take(1000)))
        request = station.ring.push(flow.receiver.sqe(10_000))
        cqes = {cqe.user_data: cqe for cqe in station.ring.wait(3)}
        assert cqes[sent].res == 1000
        for each, number, length in ((other, woken, 1000), (flow, request, 10_000)):
            received = each.receiver.decode(cqes[number])
            each.receiver.give_back(each.accept(received))
            left = each.tcp.queued()
            assert left == length - received.length, f"{cqes[number]}: {left} bytes left"
            each.drain(left)


# -- the ring goes, the process goes -----------------------------------------------------------


@contract("RECV-17", "REG-19")
@every_armed
def test_ring_closed_under_a_request(station: Station, pool: MetadataRing, armed: Armed) -> None:
    """A ring that goes away with a request waiting takes its ifq along, and no data."""
    assert pool.bgid == META
    flow = station.flow()
    arm(station.ring, armed(flow))
    station.close_ring()
    station.gone()
    flow.tcp.send(1000)
    flow.tcp.read(1000)


@contract("RECV-17", "REG-19", "REL-8")
@pytest.mark.parametrize("taken", [0, 1])
def test_ring_closed_with_completions(station: Station, taken: int) -> None:
    """Pieces that nobody has looked at, or that the user still holds, do not keep the region."""
    flow = station.flow()
    flow.tcp.send(3000)
    flow.tcp.wait_queued(3000)
    station.ring.push(flow.receiver.sqe(1000))
    if taken:
        received = flow.receiver.decode(station.ring.wait(1)[0])
        flow.accept(received)
        length = received.length
    else:
        station.ring.submit()
        length = 3000 - flow.tcp.queued()
    assert 0 < length <= 1000
    flow.tcp.check.offset = length
    station.close_ring()
    flow.tcp.read(3000 - length)
    station.gone()


@contract("RECV-17", "REG-19")
@pytest.mark.parametrize(
    "armed",
    [ARMED["plain"], ARMED["async"], ARMED["multishot"]],
    ids=["plain", "async", "multishot"],
)
def test_process_killed_under_a_request(
    link_pool: LinkPool,
    steered_link: Link,
    connection: Connection,
    zctap: Zctap,
    seed: int,
    armed: Armed,
) -> None:
    """A killed process leaves no ifq, and all that its request has not taken can be read."""
    flush = link_pool.flusher().flush

    def body(say: Say, hear: Hear) -> None:
        station = Station(zctap, steered_link, flush, seed)
        MetadataRing(station.ring, META, 4, 1024)
        flow = Flow(connection, station.receiver(connection.rx))
        arm(station.ring, armed(flow))
        say("armed" if station.entry is None else str(station.entry.number))
        hear()

    with Child(body) as child:
        number = child.hear()
        child.kill()
    left = [entry for entry in Debugfs().entries() if str(entry.number) == number]
    for entry in left:
        wait_gone(entry, flush)
    connection.send(1000)
    connection.read(1000)
