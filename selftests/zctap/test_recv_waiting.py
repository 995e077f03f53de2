# SPDX-License-Identifier: GPL-2.0
"""When a request completes, and when it waits: RECV_ZC as IORING_OP_RECV (RECV-14, 23, 25)."""

import errno
import os
import socket
import struct

import pytest

from fixtures.stations import MakeStation
from fixtures.ways import MakeWay, Way
from lib.uring import RecvSend, Setup, SqeFlag, op

contract = pytest.mark.contract

SO_RCVTIMEO = 20  # asm-generic/socket.h; a struct timeval
DEFERRED = Setup.SINGLE_ISSUER | Setup.DEFER_TASKRUN


@contract("RECV-14", "RECV-23")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ioprio": RecvSend.POLL_FIRST},
        {"flags": SqeFlag.ASYNC},
        {"flags": SqeFlag.IO_DRAIN},
    ],
    ids=["plain", "poll-first", "async", "drain"],
)
@pytest.mark.parametrize("waiting", [True, False], ids=["empty", "loaded"])
def test_request_completes_with_data(way: Way, changes: dict[str, int], waiting: bool) -> None:
    """On an empty socket the request stays until data arrives; else it completes at once."""
    if waiting:
        request = way.start(1000, **changes)
        assert way.ring.reap() == []
        way.tcp.send(1000)
    else:
        way.tcp.send(1000)
        way.tcp.wait_queued(1000)
        request = way.start(1000, **changes)
    got = way.finish(request)
    assert got > 0
    way.drain(1000 - got)


@contract("RECV-14", "RECV-23")
def test_nothing_there_and_not_waiting(way: Way) -> None:
    """MSG_DONTWAIT on an empty socket is EAGAIN; with data it is received."""
    assert way.run(100, op_flags=socket.MSG_DONTWAIT) == -errno.EAGAIN
    way.tcp.send(100)
    way.tcp.wait_queued(100)
    assert way.run(100, op_flags=socket.MSG_DONTWAIT) == 100


@contract("RECV-23")
def test_poll_first_and_not_waiting(way: Way) -> None:
    """POLL_FIRST with MSG_DONTWAIT is EAGAIN whatever is there, and takes nothing."""
    way.tcp.send(100)
    way.tcp.wait_queued(100)
    changes = {"op_flags": socket.MSG_DONTWAIT, "ioprio": RecvSend.POLL_FIRST}
    assert way.run(100, **changes) == -errno.EAGAIN
    way.drain(100)


@contract("RECV-14", "RECV-23")
def test_socket_that_does_not_block(way: Way) -> None:
    """O_NONBLOCK is a matter of recv(2): on such a socket a request waits all the same."""
    way.tcp.rx.setblocking(False)
    request = way.start(100)
    assert way.ring.reap() == []
    way.tcp.send(100)
    assert way.finish(request) == 100


@contract("RECV-23")
def test_wake_up_for_nothing(make_way: MakeWay) -> None:
    """A request whose data someone else has read meanwhile goes on waiting."""
    way = make_way(ring_flags=DEFERRED)
    request = way.start(100)
    way.tcp.send(500)
    way.tcp.wait_queued(500)
    way.tcp.check.check(way.tcp.rx.recv(500))
    assert way.ring.reap() == []
    way.tcp.send(100)
    assert way.finish(request) == 100


@contract("RECV-23")
def test_two_requests_on_a_socket(make_station: MakeStation) -> None:
    """Of two waiting requests each byte goes to one, in the order of their completions."""
    station = make_station()
    flow = station.flow()
    receivers = [flow.receiver, station.receiver(flow.tcp.rx)]
    requests = {station.ring.push(receiver.sqe(1000)): receiver for receiver in receivers}
    station.ring.submit()
    sent = 0
    while requests:
        flow.tcp.send(1000)
        sent += 1000
        for cqe in station.ring.wait(1):
            receiver = requests.pop(cqe.user_data)
            receiver.give_back(flow.accept(receiver.decode(cqe)))
    flow.drain(sent - flow.tally.total)


@contract("RECV-23")
def test_descriptor_closed_under_a_request(way: Way) -> None:
    """A waiting request has the socket for itself when its descriptor is closed."""
    request = way.start(1000)
    way.tcp.rx.close()
    assert way.ring.reap() == []
    way.tcp.send(1000)
    assert 0 < way.finish(request) <= 1000


@contract("RECV-23")
@pytest.mark.parametrize("flags", [0, SqeFlag.ASYNC], ids=["plain", "async"])
def test_fixed_file(way: Way, flags: int) -> None:
    """A registered file is used by its index, its descriptor closed; an empty slot is EBADF."""
    fd = os.dup(way.tcp.rx.fileno())
    way.ring.register_files([-1, fd])
    os.close(fd)
    assert way.run(1000, fd=0, flags=flags | SqeFlag.FIXED_FILE) == -errno.EBADF
    request = way.start(1000, fd=1, flags=flags | SqeFlag.FIXED_FILE)
    way.tcp.send(1000)
    got = way.finish(request)
    assert got > 0
    way.drain(1000 - got)


# -- socket options --------------------------------------------------------------------------


def set_lowat(way: Way, length: int) -> None:
    """Let the socket be readable from `length` bytes on."""
    way.tcp.rx.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, length)


@contract("RECV-25")
@pytest.mark.parametrize("ioprio", [0, RecvSend.POLL_FIRST], ids=["plain", "poll-first"])
def test_low_water_mark(way: Way, ioprio: int) -> None:
    """A request that waits is not woken by fewer bytes than SO_RCVLOWAT."""
    set_lowat(way, 1000)
    request = way.start(5000, ioprio=ioprio)
    for part in range(1, 4):
        way.tcp.send(333)
        way.tcp.wait_queued(333 * part)
        assert way.ring.reap() == []
    way.tcp.send(1)
    got = way.finish(request)
    assert got > 0
    way.drain(1000 - got)


@contract("RECV-25")
def test_low_water_mark_and_data(way: Way) -> None:
    """A request that finds some data takes it, less than SO_RCVLOWAT as it may be."""
    set_lowat(way, 1000)
    way.tcp.send(400)
    way.tcp.wait_queued(400)
    assert way.run(5000) == 400


@contract("RECV-25")
def test_low_water_mark_and_polling_first(way: Way) -> None:
    """With POLL_FIRST it is the other way round: it waits for SO_RCVLOWAT bytes."""
    set_lowat(way, 1000)
    way.tcp.send(400)
    way.tcp.wait_queued(400)
    request = way.start(5000, ioprio=RecvSend.POLL_FIRST)
    assert way.ring.reap() == []
    way.tcp.send(600)
    got = way.finish(request)
    assert got > 0
    way.drain(1000 - got)


@contract("RECV-25")
def test_low_water_mark_and_the_end(way: Way) -> None:
    """The end of the stream wakes a request however little there is."""
    set_lowat(way, 1000)
    request = way.start(5000)
    way.tcp.send(10)
    way.tcp.finish()
    assert way.finish(request) == 10
    assert way.run(5000) == 0


@contract("RECV-25")
@pytest.mark.parametrize("flags", [0, SqeFlag.ASYNC], ids=["plain", "async"])
def test_receive_timeout(way: Way, flags: int) -> None:
    """SO_RCVTIMEO does not end a request, which waits by poll."""
    way.tcp.rx.setsockopt(socket.SOL_SOCKET, SO_RCVTIMEO, struct.pack("ll", 0, 10_000))
    request = way.start(1000, flags=flags)
    clock = way.ring.push(op.timeout(0.05))
    assert [cqe.user_data for cqe in way.ring.wait(1)] == [clock]
    way.tcp.send(1000)
    got = way.finish(request)
    assert got > 0
    way.drain(1000 - got)
