# SPDX-License-Identifier: GPL-2.0
"""RECV_ZC on anything but a connected TCP socket: refused, and nothing taken."""

import errno
import os
import select
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from fixtures.rings import Pair
from fixtures.stations import LOADED, Flow, Station
from lib.uring import op
from netns import Link, Namespace
from netns.fronts import in_sockmap, tls

contract = pytest.mark.contract

IPPROTO_MPTCP, ETH_P_ALL = 262, 0x0003


def refused(flow: Flow, fd: int, *expected: int) -> None:
    """The call on that descriptor fails with one of these, and the next good one works."""
    flow.refused(replace(flow.receiver.sqe(LOADED), fd=fd), *expected)
    flow.drain(LOADED)


def make_socket(ns: Namespace, family: int, kind: int, proto: int = 0) -> socket.socket:
    """A socket, or a skip that says what the kernel lacks."""
    try:
        return ns.socket(family, kind, proto)
    except OSError as error:
        pytest.skip(f"no such sockets in this kernel: {error.strerror}")


# -- what is no socket ---------------------------------------------------------------------


@pytest.fixture(params=["pipe", "eventfd", "epoll", "memfd", "directory"])
def file_descriptor(request: pytest.FixtureRequest) -> Iterator[int]:
    """A descriptor of a file that is no socket, with something to read where that can be."""
    kind, others = request.param, []
    if kind == "pipe":
        fd, writer = os.pipe()
        os.write(writer, b"bytes")
        others.append(writer)
    elif kind == "eventfd":
        fd = os.eventfd(1)
    elif kind == "epoll":
        with select.epoll() as epoll:
            fd = os.dup(epoll.fileno())
    elif kind == "memfd":
        fd = os.memfd_create("zctap")
    else:
        fd = os.open("/", os.O_RDONLY)
    yield fd
    for other in (fd, *others):
        os.close(other)


@contract("RECV-1")
def test_not_a_socket(loaded: Flow, file_descriptor: int) -> None:
    """A file that is no socket is ENOTSOCK."""
    refused(loaded, file_descriptor, errno.ENOTSOCK)


@contract("RECV-1")
def test_ring_is_not_a_socket(loaded: Flow, station: Station) -> None:
    """A ring, even the one that the request is on, is ENOTSOCK."""
    refused(loaded, station.ring.fd, errno.ENOTSOCK)


# -- sockets that are not plain TCP --------------------------------------------------------


@contract("RECV-2")
@pytest.mark.parametrize(
    ("family", "address"),
    [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")],
    ids=["ipv4", "ipv6"],
)
def test_udp_socket(loaded: Flow, station: Station, family: int, address: str) -> None:
    """UDP is EPROTONOSUPPORT, and the datagram stays."""
    with station.link.rx.ns.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((address, 0))
        sock.connect(sock.getsockname())
        sock.send(b"datagram")
        refused(loaded, sock.fileno(), errno.EPROTONOSUPPORT)
        assert sock.recv(100) == b"datagram"


@contract("RECV-2")
def test_unix_socket(loaded: Flow, pair: Pair) -> None:
    """A UNIX stream is EPROTONOSUPPORT, and keeps its bytes."""
    pair[1].send(b"bytes")
    refused(loaded, pair[0].fileno(), errno.EPROTONOSUPPORT)
    assert pair[0].recv(100) == b"bytes"


@contract("RECV-2")
@pytest.mark.parametrize(
    ("family", "kind", "proto"),
    [
        (socket.AF_UNIX, socket.SOCK_DGRAM, 0),
        (socket.AF_UNIX, socket.SOCK_SEQPACKET, 0),
        (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP),
        (socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_TCP),
        (socket.AF_NETLINK, socket.SOCK_RAW, 0),
        (socket.AF_PACKET, socket.SOCK_RAW, 0),
        (socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP),
        (socket.AF_INET6, socket.SOCK_STREAM, IPPROTO_MPTCP),
    ],
    ids=[
        "unix-dgram",
        "unix-seqpacket",
        "raw-tcp",
        "raw-tcp6",
        "netlink",
        "packet",
        "mptcp",
        "mptcp6",
    ],
)
def test_other_sockets(loaded: Flow, station: Station, family: int, kind: int, proto: int) -> None:
    """Raw sockets of protocol TCP and unconnected MPTCP are refused, too.

    They are not connected either (RECV-5), and which of the two is said is left open.
    """
    with make_socket(station.link.rx.ns, family, kind, proto) as sock:
        refused(loaded, sock.fileno(), errno.EPROTONOSUPPORT, errno.ENOTCONN)


@pytest.mark.own_device
@contract("RECV-2")
def test_connected_mptcp_socket(loaded: Flow, station: Station) -> None:
    """A connected MPTCP socket is EPROTONOSUPPORT, and keeps its bytes."""
    tx, rx = station.link.tx, station.link.rx
    kind = (socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
    with make_socket(rx.ns, *kind) as listener, make_socket(tx.ns, *kind) as sender:
        listener.bind((rx.address(4), 0))
        listener.listen(1)
        sender.settimeout(30)
        sender.connect(listener.getsockname())
        accepted, _ = listener.accept()
        with accepted:
            sender.send(b"bytes")
            accepted.settimeout(30)
            assert accepted.recv(1) == b"b"
            refused(loaded, accepted.fileno(), errno.EPROTONOSUPPORT)
            assert accepted.recv(4, socket.MSG_WAITALL) == b"ytes"


@contract("RECV-2")
def test_socket_in_a_sockmap(loaded: Flow) -> None:
    """A socket in a sockmap is EPROTONOSUPPORT; taken out of it, it is read to the end."""
    try:
        with in_sockmap(loaded.tcp.rx):
            loaded.refused(loaded.receiver.sqe(LOADED), errno.EPROTONOSUPPORT)
    except OSError as error:
        pytest.skip(f"no sockmap: {error}")
    loaded.drain(LOADED)


def let_kernel_do_tls(sock: socket.socket, *, receive: bool) -> None:
    """TLS, or a skip that says what is missing."""
    try:
        tls(sock, receive=receive)
    except OSError as error:
        pytest.skip(f"no CONFIG_TLS: {error}")


@contract("RECV-2")
def test_socket_with_tls_receive(loaded: Flow, station: Station) -> None:
    """A socket whose TLS records the kernel opens is EPROTONOSUPPORT."""
    other = station.flow()
    let_kernel_do_tls(other.tcp.rx, receive=True)
    other.refused(other.receiver.sqe(LOADED), errno.EPROTONOSUPPORT)
    loaded.drain(LOADED)


@contract("RECV-2")
def test_socket_with_tls_send(station: Station) -> None:
    """TLS in the other direction alone is in nobody's way."""
    flow = station.flow()
    let_kernel_do_tls(flow.tcp.rx, receive=False)
    flow.transfer(10_000)


# -- TCP without a connection --------------------------------------------------------------


@contract("RECV-5")
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("listening", [False, True], ids=["unconnected", "listening"])
def test_socket_without_a_connection(
    loaded: Flow, station: Station, family: int, listening: bool
) -> None:
    """A socket that was never connected, and one that listens, are ENOTCONN."""
    with station.link.rx.ns.socket(family, socket.SOCK_STREAM) as sock:
        if listening:
            sock.listen(1)
        refused(loaded, sock.fileno(), errno.ENOTCONN)


@pytest.mark.own_device
@contract("RECV-5")
def test_listener_with_a_connection_waiting(loaded: Flow, steered_link: Link) -> None:
    """A listening socket is ENOTCONN even when a connection with data waits to be accepted."""
    with steered_link.rx.ns.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind((steered_link.rx.address(4), 0))
        listener.listen(1)
        with steered_link.tx.ns.socket(socket.AF_INET, socket.SOCK_STREAM) as sender:
            sender.settimeout(30)
            sender.connect(listener.getsockname())
            sender.send(b"early")
            refused(loaded, listener.fileno(), errno.ENOTCONN)
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.recv(5, socket.MSG_WAITALL) == b"early"


# -- and the ordinary way on the same ring ---------------------------------------------------


@contract("RECV-23")
def test_closed_descriptor(loaded: Flow, station: Station) -> None:
    """A descriptor that is not open is EBADF, as for any request."""
    for sqe in (loaded.receiver.sqe(LOADED), op.recv(0, bytearray(1))):
        assert station.ring.run(replace(sqe, fd=1 << 20)).error == errno.EBADF
    loaded.drain(LOADED)
