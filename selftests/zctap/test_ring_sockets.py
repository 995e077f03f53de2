# SPDX-License-Identifier: GPL-2.0
"""The ring library on any kernel: plain receive and send over TCP between two namespaces."""

import errno
import socket

import pytest

from fixtures.links import Connect
from lib.uring import Ring, op
from netns import Connection


@pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])
def test_receive_of_a_stream(ring: Ring, connect: Connect, family: int) -> None:
    """256 KiB arrive whole and in order, and then the end of the stream."""
    connection, total, buffer = connect(family), 256 << 10, bytearray(32 << 10)
    left = total - connection.feed(total)
    while connection.check.offset < total:
        cqe = ring.run(op.recv(connection.rx.fileno(), buffer))
        assert cqe.res > 0
        connection.check.check(memoryview(buffer)[: cqe.res])
        left -= connection.feed(left)
    connection.finish()
    assert ring.run(op.recv(connection.rx.fileno(), buffer)).res == 0


@pytest.mark.own_sender
def test_send_of_a_stream(ring: Ring, connection: Connection) -> None:
    """What SEND puts in is what recv(2) gets."""
    piece = connection.sent.take(20_000)
    assert ring.run(op.send(connection.tx.fileno(), piece)).res == 20_000
    connection.read(20_000)


def test_receive_waits_for_data(ring: Ring, connection: Connection) -> None:
    """A receive on an empty socket completes when data arrives."""
    buffer = bytearray(100)
    request = ring.push(op.recv(connection.rx.fileno(), buffer))
    ring.submit()
    assert ring.reap() == []
    connection.send(100)
    cqe = ring.wait_for(request)
    connection.check.check(memoryview(buffer)[: cqe.res])


def test_receive_without_waiting(ring: Ring, connection: Connection) -> None:
    """With MSG_DONTWAIT an empty socket is EAGAIN."""
    request = op.recv(connection.rx.fileno(), bytearray(1), msg_flags=socket.MSG_DONTWAIT)
    assert ring.run(request).error == errno.EAGAIN


def test_receive_after_reset(ring: Ring, connection: Connection) -> None:
    """A receive that waits completes with ECONNRESET when the peer resets."""
    request = ring.push(op.recv(connection.rx.fileno(), bytearray(1)))
    ring.submit()
    connection.reset()
    assert ring.wait_for(request).error == errno.ECONNRESET
