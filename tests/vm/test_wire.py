# SPDX-License-Identifier: GPL-2.0
"""The agent's channel, with broken frames and with the agent's own end of it."""

import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from lib.vm import agent
from lib.vm.wire import HEADER, Closed, Silence, Wire

Pair = tuple[Wire, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """The host's end, and the socket that stands for the guest's."""
    ours, theirs = socket.socketpair()
    wire = Wire(ours)
    yield wire, theirs
    wire.close()
    theirs.close()


def soon() -> float:
    return time.monotonic() + 0.2


def test_frames_may_come_in_pieces(pair: Pair):
    wire, guest = pair
    data = HEADER.pack(b"E", 5) + b"hello" + HEADER.pack(b"O", 0)
    for byte in data:
        guest.send(bytes([byte]))
    assert wire.receive(soon()) == (b"E", b"hello")
    assert wire.receive(soon()) == (b"O", b"")


def test_silence(pair: Pair):
    wire, guest = pair
    guest.send(HEADER.pack(b"E", 5) + b"hel")
    with pytest.raises(Silence):
        wire.receive(soon())


def test_end_in_the_middle_of_a_frame(pair: Pair):
    wire, guest = pair
    guest.send(HEADER.pack(b"E", 5) + b"hel")
    guest.close()
    with pytest.raises(Closed):
        wire.receive(soon())


@pytest.mark.parametrize(
    "data", [b"\x1b[31mKernel panic\n", HEADER.pack(b"E", 1 << 31), b"\0" * 64]
)
def test_garbage_is_not_waited_for(pair: Pair, data: bytes):
    wire, guest = pair
    guest.send(data)
    with pytest.raises(Closed, match="no frame"):
        wire.receive(soon())


@pytest.mark.parametrize("payload", [b"{", b"[]", b"\xff\xfe"])
def test_answer_must_be_an_object(pair: Pair, payload: bytes):
    wire, guest = pair
    guest.send(HEADER.pack(b"J", len(payload)) + payload)
    with pytest.raises(Closed, match="no JSON"):
        wire.answer("hello", soon())


def test_agent_and_host_speak_the_same(pair: Pair):
    wire, guest = pair
    channel = agent.Channel.__new__(agent.Channel)
    channel.fd = os.dup(guest.fileno())
    wire.request(soon(), do="hello", nonce="x")
    # More than a socket's buffer holds.
    sender = threading.Thread(target=wire.put, args=(b"a" * 1_000_000, time.monotonic() + 10))
    sender.start()
    letter, payload = channel.receive()
    assert (letter, payload) == (b"J", b'{"do": "hello", "nonce": "x"}')
    pieces = []
    while (piece := channel.receive())[1]:
        pieces.append(piece[1])
    assert b"".join(pieces) == b"a" * 1_000_000
    sender.join()
    channel.answer(**{"is": "hello"}, nonce="x")
    assert wire.answer("hello", soon())["nonce"] == "x"
    os.close(channel.fd)
