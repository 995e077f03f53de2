# SPDX-License-Identifier: GPL-2.0
"""Several sockets on a queue, several receivers on a ring, several rings on a socket."""

import random

import pytest

from fixtures.links import UNUSED_QUEUE
from fixtures.stations import Flow, MakeStation, Station
from lib.uring import Setup, SqeFlag
from netns import Link

contract = pytest.mark.contract

DEFERRED = Setup.SINGLE_ISSUER | Setup.DEFER_TASKRUN


@contract("RECV-19", "RECV-21", "RECV-29")
@pytest.mark.parametrize("ring_flags", [0, DEFERRED], ids=["plain", "deferred"])
def test_sockets_in_any_order(
    make_station: MakeStation, rng: random.Random, ring_flags: int
) -> None:
    """Six streams through one region, their requests all armed, do not mix."""
    station = make_station(ring_flags=ring_flags, copies=32)
    flows = [station.flow(4 + 2 * (number % 2)) for number in range(6)]
    share = 30_000
    left = dict.fromkeys(range(6), share)
    armed: dict[int, Flow] = {}

    def arm(flow: Flow) -> None:
        armed[station.ring.push(flow.receiver.sqe(rng.choice((1000, 5000, 1 << 20))))] = flow

    for flow in flows:
        arm(flow)
    station.ring.submit()
    while armed:
        for number in rng.sample(range(6), 6):
            left[number] -= flows[number].tcp.feed(min(left[number], rng.choice((1, 1448, 9000))))
        for cqe in station.ring.wait(1):
            flow = armed.pop(cqe.user_data)
            flow.receiver.give_back(flow.accept(flow.receiver.decode(cqe)))
            if flow.tally.total < share:
                arm(flow)
        station.ring.submit()
    assert all(bool(flow.tally.zero_copy) == station.in_region for flow in flows)


@contract("RECV-20", "RECV-23", "RECV-19")
def test_workers_that_share_a_copy_ring(make_station: MakeStation) -> None:
    """Two workers of io-wq copy at the same time: each has copy buffers of its own."""
    station, size = make_station(queue=UNUSED_QUEUE, copies=64), 40_000
    flows = [station.flow(), station.flow()]
    for _ in range(20):
        for flow in flows:
            flow.tcp.send(size)
        requests: dict[int, Flow] = {}
        for flow in flows:
            flow.tcp.wait_queued(size)
            sqe = flow.receiver.sqe(size).with_flags(SqeFlag.ASYNC)
            requests[station.ring.push(sqe)] = flow
        station.ring.submit()
        # Both are done before the bytes of either are looked at.
        done = [(flow, station.ring.wait_for(request)) for request, flow in requests.items()]
        for flow, cqe in done:
            flow.receiver.give_back(flow.accept(flow.receiver.decode(cqe)))
        for flow in flows:
            flow.drain(flow.tcp.sent.offset - flow.tally.total)


@contract("RECV-19", "DEV-1")
def test_queues_and_sockets(own_link: Link, make_station: MakeStation) -> None:
    """Two rings on two queues of a device, two sockets each: every stream by its own region."""
    stations = [make_station(own_link, queue=queue) for queue in (0, 1)]
    flows = [station.flow(family, queue=station.queue) for station in stations for family in (4, 6)]
    for _ in range(3):
        for flow in flows:
            flow.tcp.send(8000)
        for flow in reversed(flows):
            flow.drain(8000)
    for flow in flows:
        assert flow.tally.zero_copy > 0.9 * flow.tally.total


@contract("RECV-19", "RECV-29")
def test_rings_that_share_a_socket(station: Station, bystander: Station) -> None:
    """Requests of two rings on one socket: each byte goes to one of them.

    Which of them completes first tells nothing of where in the stream its bytes are: they may come
    in between looking at the one and at the other.
    """
    flow, pieces = station.flow(), dict[int, int]()
    pattern = flow.tcp.check.pattern
    readers = {station: flow, bystander: Flow(flow.tcp, bystander.receiver(flow.tcp.rx))}
    requests = {
        reader: place.ring.push(reader.receiver.sqe(1000)) for place, reader in readers.items()
    }
    for place in readers:
        place.ring.submit()
    due = 0
    for _ in range(10):
        flow.tcp.send(1500)
        while due < flow.tcp.sent.offset:
            for place, reader in readers.items():
                for cqe in place.ring.reap():
                    assert cqe.user_data == requests[reader]
                    chunks = reader.receiver.decode(cqe).chunks
                    for chunk in chunks:
                        at = pattern.locate(bytes(chunk.data))
                        assert at is not None
                        pattern.check(at, chunk.data)
                        pieces[at] = len(chunk.data)
                    due += sum(len(chunk.data) for chunk in chunks)
                    reader.receiver.give_back(chunks)
                    requests[reader] = place.ring.push(reader.receiver.sqe(1000))
                    place.ring.submit()
    assert flow.tcp.queued() == 0
    end = 0
    for at in sorted(pieces):
        assert at == end, f"bytes {min(at, end)} to {max(at, end)} are missing, or came twice"
        end += pieces[at]
    assert end == due == flow.tcp.sent.offset


@contract("RECV-19")
def test_copy_ring_shared_by_sockets(bystander: Station, rng: random.Random) -> None:
    """Several sockets with one copy ring get buffers of their own."""
    flows = [bystander.flow() for _ in range(4)]
    for _ in range(5):
        for flow in flows:
            flow.tcp.send(2000)
            flow.tcp.wait_queued(2000)
        held = [
            (flow, flow.tally.total, flow.accept(flow.receiver.receive(2000))) for flow in flows
        ]
        for flow, offset, chunks in rng.sample(held, 4):
            for chunk in chunks:
                flow.tcp.check.pattern.check(offset, chunk.data)
                offset += len(chunk.data)
            flow.receiver.give_back(chunks)
            flow.drain(flow.tcp.queued())
