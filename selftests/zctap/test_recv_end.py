# SPDX-License-Identifier: GPL-2.0
"""How a stream ends for RECV_ZC: by FIN, by RST, with data before it."""

import errno
import select
import socket
from dataclasses import replace

import pytest

from fixtures.stations import LOADED, Flow, Station
from fixtures.ways import Way
from lib.deadline import wait_until
from lib.uring import RecvSend, SqeFlag

contract = pytest.mark.contract


def wait_hangup(flow: Flow) -> None:
    """Wait until the receiving end knows of the reset; the error itself stays."""
    poll = select.poll()
    poll.register(flow.tcp.rx, 0)
    wait_until(lambda: poll.poll(0), "a hangup")


@contract("RECV-15")
def test_end_of_stream(either_loaded: Flow) -> None:
    """When the peer closes the data comes first, and then 0, again and again."""
    either_loaded.tcp.finish()
    either_loaded.drain(LOADED)
    for _ in range(2):
        assert either_loaded.receiver.receive() == []


@contract("RECV-15")
@pytest.mark.parametrize("size", [1, 100_000])
def test_all_data_before_the_end(either_station: Station, size: int) -> None:
    """However much there is, 0 comes once and after all of it."""
    flow = either_station.flow()
    ended, left = False, size
    while flow.tally.total < size:
        left -= flow.tcp.feed(left)
        if not left and not ended:
            flow.tcp.finish()
            ended = True
        chunks = flow.accept(flow.receiver.receive())
        assert chunks, f"0 after {flow.tally.total} of {size} bytes"
        flow.receiver.give_back(chunks)
    assert flow.receiver.receive() == []


@contract("RECV-15", "RECV-23")
@pytest.mark.parametrize(
    "changes",
    [{}, {"ioprio": RecvSend.POLL_FIRST, "flags": SqeFlag.ASYNC}],
    ids=["plain", "async-poll-first"],
)
@pytest.mark.parametrize("waiting", [True, False], ids=["waiting", "ended"])
def test_end_of_an_empty_stream(way: Way, changes: dict[str, int], waiting: bool) -> None:
    """A request completes with 0 when the peer closes, and when it has closed already."""
    if not waiting:
        way.tcp.finish()
    request = way.start(100, **changes)
    if waiting:
        way.tcp.finish()
    assert way.finish(request) == 0


@contract("RECV-15", "RECV-23")
@pytest.mark.parametrize("waiting", [True, False], ids=["waiting", "before"])
def test_shut_down_for_reading(way: Way, waiting: bool) -> None:
    """Shut down on our own side, a socket has no more to say than for RECV: 0, not an error."""
    request = way.start(1000) if waiting else 0
    way.tcp.rx.shutdown(socket.SHUT_RD)
    assert (way.finish(request) if waiting else way.run(1000)) == 0


@contract("RECV-15", "RECV-23")
def test_shut_down_with_data_to_read(way: Way) -> None:
    """What lies in a socket when it is shut down for reading comes first, and then 0."""
    way.tcp.send(LOADED)
    way.tcp.wait_queued(LOADED)
    way.tcp.rx.shutdown(socket.SHUT_RD)
    way.drain(LOADED)
    for _ in range(2):
        said = way.run(100)
        assert said == 0, f"{said} behind the data, expected 0"


@contract("RECV-16", "RECV-23")
@pytest.mark.parametrize("flags", [0, SqeFlag.ASYNC], ids=["plain", "async"])
def test_reset_by_the_peer(way: Way, flags: int) -> None:
    """A request that waits completes with ECONNRESET when the peer resets."""
    request = way.start(100, flags=flags)
    way.tcp.reset()
    assert way.finish(request) == -errno.ECONNRESET


@contract("RECV-16", "RECV-29")
def test_data_before_a_reset(either_loaded: Flow) -> None:
    """What lies in the socket when the peer resets comes first, then ECONNRESET."""
    flow = either_loaded
    flow.tcp.reset()
    wait_hangup(flow)
    received = flow.receiver.run(flow.receiver.sqe(LOADED // 2))
    assert received.error == 0
    flow.receiver.give_back(flow.accept(received))
    flow.drain(LOADED - received.length)
    assert flow.receiver.run(flow.receiver.sqe(100)).error == errno.ECONNRESET


@contract("RECV-16")
def test_reset_of_an_ended_stream(loaded: Flow) -> None:
    """A reset that follows FIN does not cost the data that came before."""
    loaded.tcp.finish()
    loaded.tcp.reset()
    wait_hangup(loaded)
    loaded.drain(LOADED)


@contract("RECV-10")
def test_refused_at_the_end(loaded: Flow) -> None:
    """A bad request on a stream that has ended is refused, not told 0."""
    loaded.tcp.finish()
    loaded.drain(LOADED)
    bad = replace(loaded.receiver.sqe(100), len=15)
    assert loaded.receiver.run(bad).error == errno.EINVAL
    assert loaded.receiver.receive() == []
