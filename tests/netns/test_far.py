# SPDX-License-Identifier: GPL-2.0
import ast
import errno
import os
import select
import signal
import socket
import sys
import zlib
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lib import far
from lib.deadline import wait_until
from lib.far import Far, FarLost, program
from lib.nic.config import Config
from lib.pattern import Pattern
from lib.run import host_card
from lib.trouble import Trouble
from netns import Link, Unsupported, connect
from netns.far import across
from netns.streamer import streamer
from netns.tcp import listening

STREAM = {"tag": 0, "start": 0}


@pytest.fixture(scope="module")
def link() -> Iterator[Link]:
    try:
        made = Link()
    except PermissionError as error:
        pytest.skip(f"network namespaces need root: {error}")
    with made:
        yield made


@pytest.fixture
def other(link: Link) -> Iterator[Far]:
    """The program, in the namespace of the sending end."""
    with Far(far.here, {4: link.tx.address(4), 6: link.tx.address(6)}, link.tx.ns.fd) as made:
        yield made


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("start", [0, 1021])
def test_a_stream_is_the_patterns(link: Link, other: Far, family: int, start: int):
    made = across(other, link.rx, Pattern(7, start), family)
    for length in (1, 7, 8, 100_001):
        made.send(length)
        made.read(length)
    assert made.rx.getpeername()[0] == link.tx.address(family)
    made.finish()
    assert made.rx.recv(1) == b""
    made.close()


def test_the_address_it_comes_from(link: Link):
    second = "198.18.0.3"
    with link.tx.netlink() as ip:
        ip.addr("add", index=link.tx.ifindex, address=second, prefixlen=24)
        with Far(far.here, {4: second}, link.tx.ns.fd) as other:
            made = across(other, link.rx, Pattern(7), 4)
            assert made.rx.getpeername()[0] == second
            made.close()
        ip.addr("del", index=link.tx.ifindex, address=second, prefixlen=24)


def test_what_fits_is_told(link: Link, other: Far):
    made = across(other, link.rx, Pattern(7), 4, rcvbuf=16 << 10)
    total = 0
    while count := made.feed(4 << 20):
        total += count
    assert made.sent.offset == total < 32 << 20
    assert made.unacknowledged() > 0
    assert not made.acknowledged()
    made.read(total)
    wait_until(made.acknowledged, "an acknowledgement")
    made.close()


def test_a_long_stream_and_its_checksum(link: Link, other: Far):
    length, checksum = 3 << 20, 0
    there: Any = SimpleNamespace(far=other, rx=link.rx)  # what a card's link has of it
    with (
        listening(link.rx, 4, 64 << 10) as listener,
        streamer(there, 4, [100, 200], length) as peer,
    ):
        peer.connect(listener.getsockname()[1])
        with listener.accept()[0] as sock:
            for size in (100, 200):
                peer.go_on()
                assert len(sock.recv(1000)) == size
                checksum = zlib.crc32(Pattern(1).slice(checksum and 100, size), checksum)
            peer.go_on()
            checksum = zlib.crc32(sock.recv(length - 300, socket.MSG_WAITALL), checksum)
            assert sock.recv(1) == b""
        assert peer.checksum() == f"{checksum:08x}"


def test_segments_and_their_size(link: Link, other: Far):
    made = across(other, link.rx, Pattern(7), 4, mss=600)
    made.segments(*[10] * 5)
    made.wait_queued(50)
    made.read(50)
    assert made.rx.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= 600
    made.close()


def test_an_urgent_byte_is_no_part_of_it(link: Link, other: Far):
    made = across(other, link.rx, Pattern(7), 4)
    made.send(10)
    made.urgent()
    made.send(10)
    made.read(10)
    wait_until(lambda: select.select([], [], [made.rx], 0)[2], "urgent data")
    assert made.rx.recv(1, socket.MSG_OOB) == b"!"
    made.read(10)
    made.close()


def test_the_end_of_a_connection(link: Link, other: Far):
    reset, closed = (across(other, link.rx, Pattern(7), 4) for _ in range(2))
    reset.reset()
    assert not reset.sending
    wait_until(lambda: reset.rx.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), "a reset")
    reset.close()
    closed.close()
    assert closed.rx.fileno() == -1


def test_errors_of_there_are_errors_here(link: Link, other: Far):
    with pytest.raises(ConnectionRefusedError, match="at the other end"):
        other.ask(
            do="connect", address=link.rx.address(4), port=1, source="", family=4, mss=0, **STREAM
        )
    across(other, link.rx, Pattern(7), 4).close()  # it goes on


def test_it_is_lost_for_one_test_only(link: Link, other: Far):
    made = across(other, link.rx, Pattern(7), 4)
    assert other._process
    os.kill(other._process.pid, signal.SIGKILL)
    with pytest.raises(FarLost, match="the connection has ended"):
        made.feed(10)
    again = across(other, link.rx, Pattern(7), 4)
    with pytest.raises(FarLost, match="lost"):
        made.feed(10)  # not on the new one that has its number
    again.send(10)
    again.read(10)
    made.close()
    again.close()


def test_there_is_no_such_program(link: Link):
    with Far(lambda _code: ["/nonexistent/ssh"], {}) as other:
        with pytest.raises(FarLost, match="/nonexistent/ssh: No such file"):
            other.ask(do="connect")
        assert other.fds() == 0


def test_what_it_said_is_told():
    def refused(_code: str) -> list[str]:
        return ["bash", "-c", "echo banner; echo 'Permission denied (publickey).' >&2; exit 255"]

    with Far(refused, {}) as other, pytest.raises(FarLost, match="Permission denied"):
        other.ask(do="connect")


def test_it_is_given_up_in_the_end():
    calls: list[str] = []

    def failing(code: str) -> list[str]:
        calls.append(code)
        return ["bash", "-c", "exit 255"]

    with Far(failing) as other:
        for _ in range(5):
            with pytest.raises(FarLost):
                other.hello()
        with pytest.raises(FarLost, match="given up after 3 attempts"):
            other.hello()
    assert len(calls) == 3


def test_nobody_waits_for_what_cannot_come(link: Link):
    asleep = Far(lambda _: ["sleep", "600"], silence=lambda: "eth7 has no carrier")
    with asleep, pytest.raises(FarLost, match="the other end: eth7 has no carrier"):
        asleep.hello()


def test_the_carrier_s_absence_is_nobody_s_fault(link: Link):
    def failing(_code: str) -> list[str]:
        return ["bash", "-c", "exit 255"]

    with Far(failing, silence=lambda: "no carrier") as other:
        for _ in range(5):
            with pytest.raises(FarLost, match="the connection has ended"):
                other.hello()


def test_a_shell_may_greet(link: Link):
    def greeted(code: str) -> list[str]:
        return ["bash", "-c", 'echo Welcome; echo; exec python3 -c "$0"', code]

    with Far(greeted, {}, link.tx.ns.fd) as other:
        made = across(other, link.rx, Pattern(7), 4)
        made.send(1000)
        made.read(1000)
        made.close()


def test_older_pythons_can_read_it():
    text = Path(program.__file__).read_text()
    tree = ast.parse(text, feature_version=(3, 6))
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert [node.module for node in imported] == ["typing"]


def test_what_it_says_of_itself(other: Far):
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert other.hello() == {"python": python, "kernel": os.uname().release}


@pytest.mark.parametrize("family", [4, 6])
def test_by_which_interface_it_comes(link: Link, other: Far, family: int):
    with link.rx.ns.entered():
        other.reach(link.rx.address(family), link.rx.ifname)
        with pytest.raises(ConnectionRefusedError, match="at the other end"):
            other.reach(link.rx.address(family), "lo")


def test_by_another_interface_is_told(link: Link, other: Far):
    pair = IPv4Address(link.rx.address(4)), IPv4Address(link.tx.address(4))
    told = f"the other end's packets for {pair[0]} do not come in by lo: at the other end"
    with link.rx.ns.entered():
        assert host_card.asked(other, Config(link.rx.ifname, v4=pair))["kernel"]
        with pytest.raises(Trouble, match=told):
            host_card.asked(other, Config("lo", v4=pair))


def test_an_address_that_nobody_has(link: Link):
    with Far(far.here, {4: "198.18.0.77"}, link.tx.ns.fd) as other, pytest.raises(OSError) as told:
        other.hello()
    assert told.value.errno == errno.EADDRNOTAVAIL


def test_the_command_for_ssh_is_one_word_there():
    words = far.ssh("root@peer")("import sys; print('x')")
    assert words[:2] == ["ssh", "-T"]
    assert words[-3:-1] == ["--", "root@peer"]
    assert words[-1] == "python3 -c 'import sys; print('\"'\"'x'\"'\"')'"


def test_a_version_that_is_not_there(link: Link):
    class Only4:
        families, far, tx, rx = (4,), None, link.tx, link.rx

    with pytest.raises(Unsupported, match="LOCAL_V6"):
        connect(Only4(), Pattern(7), 6)  # type: ignore[arg-type]
    made = connect(Only4(), Pattern(7))  # type: ignore[arg-type]
    assert made.rx.family == socket.AF_INET
    made.close()
