# SPDX-License-Identifier: GPL-2.0
"""RECV_ZC in chains of linked requests: as IORING_OP_RECV (RECV-23)."""

import errno
import socket

import pytest

from fixtures.stations import META, Flow
from fixtures.ways import Way
from lib.uring import SqeFlag, op

contract = pytest.mark.contract

LINK, HARDLINK = SqeFlag.IO_LINK, SqeFlag.IO_HARDLINK
NOTHING_THERE = {"op_flags": socket.MSG_DONTWAIT}  # EAGAIN when it is its turn


@contract("RECV-23")
def test_in_the_middle_of_a_chain(way: Way) -> None:
    """What it is linked behind comes first, what is linked behind it comes next."""
    way.tcp.send(1000)
    way.tcp.wait_queued(1000)
    first = way.ring.push(op.nop().with_flags(LINK))
    request = way.push(1000, flags=LINK)
    last = way.ring.push(op.nop())
    cqes = way.ring.wait(3)
    assert [cqe.user_data for cqe in cqes] == [first, request, last]
    got = way.accept(cqes[1])
    assert got > 0
    way.drain(1000 - got)


@contract("RECV-23")
def test_chain_waits_with_it(way: Way) -> None:
    """As long as it waits for data, what is linked behind it does not begin."""
    request = way.push(1000, flags=LINK)
    follower = way.ring.push(op.nop())
    way.ring.submit()
    assert way.ring.reap() == []
    way.tcp.send(500)
    cqes = way.ring.wait(2)
    assert [cqe.user_data for cqe in cqes] == [request, follower]
    way.drain(500 - way.accept(cqes[0]))


@contract("RECV-23")
@pytest.mark.parametrize(
    ("flag", "expected"), [(LINK, -errno.ECANCELED), (HARDLINK, 0)], ids=["link", "hardlink"]
)
def test_failure_in_a_chain(way: Way, flag: SqeFlag, expected: int) -> None:
    """When it fails a linked request is cancelled, and a hard-linked one is not."""
    request = way.push(1000, flags=flag, **NOTHING_THERE)
    follower = way.ring.push(op.nop())
    results = {cqe.user_data: cqe.res for cqe in way.ring.wait(2)}
    assert results == {request: -errno.EAGAIN, follower: expected}
    way.tcp.send(10)
    way.drain(10)


@contract("RECV-23", "RECV-16", "RECV-8")
@pytest.mark.parametrize("why", ["ECONNRESET", "ENOBUFS"])
@pytest.mark.parametrize(
    ("flag", "expected"), [(LINK, -errno.ECANCELED), (HARDLINK, 0)], ids=["link", "hardlink"]
)
def test_failure_that_the_socket_or_a_group_brings(
    way: Way, why: str, flag: SqeFlag, expected: int
) -> None:
    """So it is when it waited for data and the peer resets, or when its group has no buffer."""
    if why == "ENOBUFS":
        request = way.push(1000, flags=flag | SqeFlag.BUFFER_SELECT, buf=META)
    else:
        request = way.push(1000, flags=flag)
    follower = way.ring.push(op.nop())
    way.ring.submit()
    if why == "ECONNRESET":
        way.tcp.reset()
    results = {cqe.user_data: cqe.res for cqe in way.ring.wait(2)}
    wanted = {request: -getattr(errno, why), follower: expected}
    assert results == wanted, f"{results}, expected {wanted}"


@contract("RECV-23")
@pytest.mark.parametrize("flag", [LINK, HARDLINK], ids=["link", "hardlink"])
def test_behind_a_failure(way: Way, flag: SqeFlag) -> None:
    """Linked behind a failed request it is cancelled and takes nothing; hard-linked, it runs."""
    way.tcp.send(1000)
    way.tcp.wait_queued(1000)
    empty, other = socket.socketpair()
    with empty, other:
        failing = op.recv(empty.fileno(), bytearray(1), msg_flags=socket.MSG_DONTWAIT)
        way.ring.push(failing.with_flags(flag))
        request = way.push(1000)
        result = way.finish(request)
        assert [cqe.error for cqe in way.ring.wait(1)] == [errno.EAGAIN]
    if flag == LINK:
        assert result == -errno.ECANCELED
        assert way.tcp.queued() == 1000
        result = 0
    way.drain(1000 - result)


@contract("RECV-23")
@pytest.mark.parametrize("length", [0, 10], ids=["end-of-stream", "short"])
def test_less_than_wanted_is_no_failure(way: Way, length: int) -> None:
    """Fewer bytes than asked for, none at the end of the stream, do not break the chain."""
    if length:
        way.tcp.send(length)
        way.tcp.wait_queued(length)
    else:
        way.tcp.finish()
    request = way.push(1000, flags=LINK)
    follower = way.ring.push(op.nop())
    assert way.finish(request) == length
    assert way.ring.wait_for(follower).res == 0


@pytest.mark.own_sender
@contract("RECV-23")
def test_send_linked_before_it(way: Way) -> None:
    """A request linked behind a SEND to its own socket's peer receives what was sent."""
    way.ring.push(op.send(way.tcp.tx.fileno(), way.tcp.sent.take(5000)).with_flags(LINK))
    got = way.finish(way.start(5000))
    assert got > 0
    way.drain(5000 - got)
    assert [cqe.res for cqe in way.ring.wait(1)] == [5000]


@contract("RECV-23")
def test_two_of_them_in_a_chain(way: Way) -> None:
    """Two linked receives take what comes one after the other."""
    second = Way(
        way.station,
        Flow(way.tcp, way.station.receiver(way.tcp.rx)),
        zero_copy=way.zero_copy,
    )
    way.tcp.send(1000)
    way.tcp.wait_queued(1000)
    requests = way.push(300, flags=LINK), second.push(200)
    cqes = way.ring.wait(2)
    assert tuple(cqe.user_data for cqe in cqes) == requests
    got = way.accept(cqes[0]), second.accept(cqes[1])
    assert got[0] > 0
    assert got[1] > 0
    way.drain(1000 - sum(got))


# -- link timeouts ---------------------------------------------------------------------------


# A worker may be at the request just then. It is interrupted, and io_try_cancel() (6.1:
# io_uring/cancel.c) goes on to look for it where it is not, which is what the timeout reports.
AT_WORK = {errno.EINTR, errno.ECANCELED}, {errno.ETIME, errno.EALREADY, errno.ENOENT}


@contract("RECV-23", "RECV-17")
@pytest.mark.parametrize(
    ("flags", "request_errors", "timeout_errors"),
    [(LINK, {errno.ECANCELED}, {errno.ETIME}), (LINK | SqeFlag.ASYNC, *AT_WORK)],
    ids=["plain", "async"],
)
def test_link_timeout_expires(
    way: Way, flags: SqeFlag, request_errors: set[int], timeout_errors: set[int]
) -> None:
    """A link timeout ends a request that waits, and data that comes later is still received."""
    request = way.push(100, flags=flags)
    timeout = way.ring.push(op.link_timeout(0.005))
    errors = {cqe.user_data: cqe.error for cqe in way.ring.wait(2)}
    assert errors[request] in request_errors
    assert errors[timeout] in timeout_errors
    way.tcp.send(100)
    way.drain(100)


@contract("RECV-23")
def test_link_timeout_is_not_needed(way: Way) -> None:
    """When data comes in time the timeout is cancelled."""
    request = way.push(100, flags=LINK)
    timeout = way.ring.push(op.link_timeout(50))
    way.ring.submit()
    assert way.ring.reap() == []
    way.tcp.send(100)
    assert way.finish(request) == 100
    assert way.ring.wait_for(timeout).error == errno.ECANCELED


@contract("RECV-23")
def test_chain_behind_a_link_timeout(way: Way) -> None:
    """What is linked behind a request that timed out is cancelled with it."""
    request = way.push(100, flags=LINK)
    timeout = way.ring.push(op.link_timeout(0.005).with_flags(LINK))
    follower = way.ring.push(op.nop())
    results = {cqe.user_data: cqe.res for cqe in way.ring.wait(3)}
    assert results[request] == -errno.ECANCELED
    assert results[timeout] in (-errno.ETIME, -errno.ECANCELED)
    assert results[follower] == -errno.ECANCELED
