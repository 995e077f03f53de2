# SPDX-License-Identifier: GPL-2.0
"""A reference device without a bound queue, and the unbound queues beside one, are as before."""

import itertools
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Protocol

import pytest

from fixtures.links import UNUSED_QUEUE, connected
from fixtures.stations import MakeStation
from lib.deadline import wait_until
from netns import Connection, End, Link, bpf, ethtool, xdp
from netns.packet import tap

contract = pytest.mark.contract
pytestmark = pytest.mark.own_device

BYTES, MTU, ETHER = 60_000, 1500, 14
_TYPE_XDP, _REDIRECT = 6, 23  # enum bpf_prog_type, enum bpf_func_id
Code = list[tuple[int, int, int, int]]  # struct bpf_insn: opcode, registers, offset, immediate
DROP: Code = [(0xB7, 0, 0, 1)]  # r0 = XDP_DROP


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


@contract("DEV-2")
def test_queue_beside_a_bound_one_is_not_polled(
    own_link: Link, make_station: MakeStation, dial: Dial
) -> None:
    """Without GRO, frames of a queue beside the bound one do not go through the poll."""
    make_station(own_link, queue=UNUSED_QUEUE)
    ethtool.set_tso(own_link.tx, False)
    comes_through(dial(own_link), "beside a bound queue")
    assert ethtool.statistics(own_link.rx)["rx_queue_1_xdp_packets"] == 0


# -- XDP that does something ------------------------------------------------------------------


@contextmanager
def program(end: End, code: Code) -> Iterator[None]:
    """Inside, the driver runs these instructions, and exit."""
    insns = [struct.pack("<BBhi", *one) for one in [*code, (0x95, 0, 0, 0)]]
    fd = bpf.load(_TYPE_XDP, b"".join(insns))
    try:
        xdp.attach(end, fd, xdp.DRIVER)
    finally:
        os.close(fd)
    try:
        yield
    finally:
        xdp.detach(end, xdp.DRIVER)


def send(end: End) -> bytes:
    """Send a frame of a type that nobody knows to the other end."""
    mac = bytes.fromhex(end.mac().replace(":", ""))
    frame = mac + mac + b"\x88\xb5" + bytes(60)
    with end.ns.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((end.ifname, 0))
        sock.send(frame)
    return frame


@contract("DEV-2")
@pytest.mark.parametrize("gro", [True, False], ids=["gro", "no-gro"])
def test_program_sees_every_frame(own_link: Link, gro: bool) -> None:
    """A program that drops everything is asked about each frame."""
    ethtool.set_offload(own_link.rx, "gro", gro)

    def dropped() -> int:
        found = ethtool.statistics(own_link.rx).items()
        return sum(value for name, value in found if name.endswith("xdp_drops"))

    def at_least(count: int) -> None:
        wait_until(lambda: dropped() >= count, lambda: f"{dropped()} dropped of {count}", 5)

    with program(own_link.rx, DROP):
        for count in range(1, 5):
            send(own_link.tx)
            at_least(count)


def comes_back(link: Link) -> bool:
    """Whether a frame that the peer's program sends back arrives; else it is counted there."""
    before, seen = link.tx.stats()["tx_dropped"], list[bytes]()
    with tap(link.rx) as sock:
        frame = send(link.rx)

        def known() -> bool:
            with suppress(BlockingIOError):
                seen.append(sock.recv(2000))
            return frame in seen or link.tx.stats()["tx_dropped"] > before

        wait_until(known, "a frame sent back neither arrives nor is counted as dropped", 5)
    return frame in seen


@contract("DEV-2")
@pytest.mark.parametrize("bound", [False, True], ids=["unbound", "bound"])
def test_frames_that_a_program_redirects(
    own_link: Link, make_station: MakeStation, bound: bool
) -> None:
    """What XDP redirects to a device's peer arrives if GRO is on, bound queue or not."""
    if bound:
        make_station(own_link)
    redirect = [(0xB7, 1, 0, own_link.tx.ifindex), (0xB7, 2, 0, 0), (0x85, 0, 0, _REDIRECT)]
    with program(own_link.tx, redirect):
        for gro in (False, True, False):
            ethtool.set_offload(own_link.rx, "gro", gro)
            assert comes_back(own_link) == gro, f"GRO {gro}"
