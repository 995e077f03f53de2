# SPDX-License-Identifier: GPL-2.0
"""A reference device without a bound queue, and the unbound queues beside one, are as before."""

import itertools
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Protocol

import pytest

from fixtures.links import UNUSED_QUEUE, connected
from fixtures.stations import MakeStation
from netns import Connection, End, Link, ethtool, xdp
from netns.packet import tap

contract = pytest.mark.contract
pytestmark = pytest.mark.own_device

BYTES, MTU, ETHER = 60_000, 1500, 14


class Dial(Protocol):
    """A connection over a link, closed by the fixture."""

    def __call__(self, link: Link) -> Connection:
        """A new one."""


@pytest.fixture
def dial(seed: int) -> Iterator[Dial]:
    """Makes connections."""
    with ExitStack() as stack:
        yield lambda link: stack.enter_context(closing(connected(link, seed, 4)))


def comes_through(connection: Connection, what: str) -> None:
    """Bytes come, all of them right."""
    try:
        connection.send(BYTES)
        connection.read(BYTES)
    except TimeoutError as error:
        raise AssertionError(f"{what}: {error}") from error


@contextmanager
def down_for_a_moment(end: End) -> Iterator[None]:
    """Inside, the device is down."""
    end.set(state="down")
    try:
        yield
    finally:
        end.set(state="up")


@contract("DEV-2")
@pytest.mark.parametrize("gro", [True, False], ids=["gro", "no-gro"])
def test_xdp_program(own_link: Link, dial: Dial, gro: bool) -> None:
    """A program comes and goes, on a device that is up or down: frames come through."""
    rx = own_link.rx
    ethtool.set_offload(rx, "gro", gro)
    connection = dial(own_link)
    comes_through(connection, "without a program")
    for down_before, down_after in itertools.product([False, True], repeat=2):
        case = f"attached {'down' if down_before else 'up'}"
        if down_before:
            rx.set(state="down")
        with xdp.attached(rx, xdp.DRIVER):
            rx.set(state="up")
            comes_through(connection, case)
            with down_for_a_moment(rx):
                pass
            comes_through(connection, f"{case}, and down and up")
            if down_after:
                rx.set(state="down")
        rx.set(state="up")
        comes_through(connection, f"{case}, detached {'down' if down_after else 'up'}")


@contract("DEV-2")
def test_gro_switched(own_link: Link, dial: Dial) -> None:
    """GRO is switched while the device is up, while it is down, and with a program on it."""
    rx = own_link.rx
    connection = dial(own_link)
    for on in (False, True, False, True):
        ethtool.set_offload(rx, "gro", on)
        comes_through(connection, f"GRO {on}")
        with down_for_a_moment(rx):
            ethtool.set_offload(rx, "gro", not on)
        comes_through(connection, f"GRO {not on}, switched while down")
        with xdp.attached(rx, xdp.DRIVER):
            ethtool.set_offload(rx, "gro", on)
            comes_through(connection, f"GRO {on}, switched under a program")
        comes_through(connection, f"GRO {on}, and the program gone")


@contract("DEV-2")
@pytest.mark.parametrize("gro", [True, False], ids=["gro", "no-gro"])
def test_channels(wide_link: Link, dial: Dial, gro: bool) -> None:
    """Queues are given up and taken back, with a program and without: frames come through."""
    rx = wide_link.rx
    ethtool.set_offload(rx, "gro", gro)
    # With a program it needs a queue for each that its peer sends on (veth_xdp_set()).
    ethtool.set_channels(wide_link.tx, 4, 2)
    connection = dial(wide_link)
    for count in (2, 4, 3):
        ethtool.set_channels(rx, count, 4)
        comes_through(connection, f"{count} queues")
        with xdp.attached(rx, xdp.DRIVER):
            comes_through(connection, f"{count} queues and a program")
            ethtool.set_channels(rx, 4, 4)
            comes_through(connection, "four queues and a program")
            ethtool.set_channels(rx, 2, 4)
            comes_through(connection, "two queues and a program")
        comes_through(connection, "the program gone")


def largest(connection: Connection, end: End) -> int:
    """Bytes of the largest packet that a device's receive path hands on, of some."""
    seen = 0
    with tap(end) as sock:
        comes_through(connection, "beside a packet socket")
        while True:
            try:
                seen = max(seen, len(sock.recv(1 << 17)) - ETHER)
            except BlockingIOError:
                return seen


def joins_if_switched_on(link: Link, connection: Connection) -> None:
    """GRO joins the single segments of a connection if it is on, and only then."""
    ethtool.set_tso(link.tx, False)
    for on in (True, False, True):
        ethtool.set_offload(link.rx, "gro", on)
        size = largest(connection, link.rx)
        assert (size > MTU) == on and size, f"GRO {on}: the largest packet has {size} bytes"


@contract("DEV-2")
def test_segments_are_joined(own_link: Link, dial: Dial) -> None:
    """On a device without a bound queue GRO does what it is told."""
    joins_if_switched_on(own_link, dial(own_link))


@contract("DEV-2")
def test_segments_beside_a_bound_queue_are_joined(
    own_link: Link, make_station: MakeStation, dial: Dial
) -> None:
    """On a queue beside one that is bound GRO does what it is told."""
    make_station(own_link, queue=UNUSED_QUEUE)
    joins_if_switched_on(own_link, dial(own_link))
