# SPDX-License-Identifier: GPL-2.0
"""Segments that begin or end a connection, or carry urgent data, together with payload."""

import errno
import random
import socket

import pytest

from fixtures.links import UNUSED_QUEUE
from fixtures.peers import Craft, CraftedFlow, MakePeer
from fixtures.stations import MakeStation, Station
from netns.frames import Flag
from netns.peer import Peer

contract = pytest.mark.contract
both_families = pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])
SIZE = 1000
_IP_RECVERR = 11  # linux/in.h


def ended(flow: CraftedFlow) -> None:
    """The stream is at its end, and stays there."""
    for _ in range(2):
        received = flow.receiver.run(flow.receiver.sqe(SIZE))
        assert (received.error, received.length, received.end) == (0, 0, True)


# -- SYN --------------------------------------------------------------------------------------


@contract("RECV-19", "BUF-2")
@both_families
def test_data_with_syn_is_sent_again(station: Station, craft: Craft, family: int) -> None:
    """Data on a SYN is not taken; sent again with the handshake's end it is, zero-copy."""
    flow = craft(station, family, shaken=False)
    flow.peer.dial(flow.peer.garbage(0, SIZE))
    flow.peer.answer_syn()
    flow.peer.accept()
    flow.receiver.sock = flow.peer.rx
    assert flow.peer.queued() == 0
    flow.peer.feed(SIZE)
    flow.drain(SIZE)
    assert flow.tally.copied == 0


@contract("DEV-1", "RECV-19", "BUF-2")
@both_families
def test_data_ends_the_handshake(station: Station, craft: Craft, family: int) -> None:
    """Data on the ACK that makes the connection lies in the region when it is accepted."""
    flow = craft(station, family, shaken=False)
    flow.peer.dial()
    flow.peer.answer_syn(SIZE)
    flow.peer.feed(SIZE)
    flow.peer.accept()
    flow.receiver.sock = flow.peer.rx
    flow.drain(2 * SIZE)
    assert flow.tally.copied == 0


# -- FIN --------------------------------------------------------------------------------------


@contract("RECV-15", "DEV-1")
@both_families
def test_data_with_fin(station: Station, craft: Craft, family: int) -> None:
    """What comes with FIN is delivered from the region, and then the end."""
    flow = craft(station, family)
    flow.peer.feed(SIZE)
    flow.peer.put(flow.peer.next(SIZE, flags=Flag.FIN | Flag.ACK))
    flow.drain(2 * SIZE)
    ended(flow)
    assert flow.tally.copied == 0


@contract("RECV-15", "RECV-19", "BUF-2")
def test_fin_comes_first(station: Station, craft: Craft) -> None:
    """With FIN ahead of the data the stream ends where FIN is, not when it came."""
    flow = craft(station)
    peer = flow.peer
    peer.put(
        peer.data(2 * SIZE, SIZE, Flag.FIN | Flag.ACK),
        peer.data(SIZE, SIZE),
        peer.data(2 * SIZE, SIZE, Flag.FIN | Flag.ACK),
        peer.data(0, SIZE),
    )
    flow.drain(3 * SIZE)
    ended(flow)


@contract("RECV-15", "BUF-2")
def test_data_behind_fin(station: Station, craft: Craft) -> None:
    """Data from behind FIN, or that crosses it, is not delivered, and its page comes free."""
    flow = craft(station)
    peer = flow.peer
    peer.feed(SIZE)
    peer.finish()
    for at in (SIZE - 100, SIZE, SIZE + 1):
        peer.put(peer.data(at, peer.garbage(at, SIZE)))
    peer.collect()
    flow.drain(SIZE)
    ended(flow)


# -- RST --------------------------------------------------------------------------------------


@contract("RECV-16", "DEV-1")
@both_families
@pytest.mark.parametrize("size", [0, SIZE], ids=["nothing-kept", "data-kept"])
def test_reset_with_data(station: Station, craft: Craft, family: int, size: int) -> None:
    """Data before RST is delivered, what comes on it is not; then the error, and its page back."""
    flow = craft(station, family)
    peer = flow.peer
    peer.feed(size)
    peer.put(peer.data(size, peer.garbage(size, SIZE), Flag.RST | Flag.ACK))
    flow.drain(size)
    received = flow.receiver.run(flow.receiver.sqe(SIZE))
    assert (received.error, received.length) == (errno.ECONNRESET, 0)
    assert flow.tally.copied == 0


@contract("RECV-16", "BUF-2")
def test_reset_drops_what_waits_for_a_gap(station: Station, craft: Craft) -> None:
    """Segments that wait for one before them go with RST, and so do the references to pages."""
    flow = craft(station)
    peer = flow.peer
    peer.feed(SIZE)
    peer.put(peer.data(3 * SIZE, SIZE), peer.data(5 * SIZE, SIZE))
    peer.reset()
    flow.drain(SIZE)
    assert flow.receiver.run(flow.receiver.sqe(SIZE)).error == errno.ECONNRESET
    station.at_rest()


@contract("RECV-16", "BUF-2")
def test_data_after_reset(station: Station, craft: Craft) -> None:
    """Data that comes when the connection is no more leaves no reference."""
    flow = craft(station)
    flow.peer.reset()
    for _ in range(3):
        flow.peer.feed(SIZE)
    assert flow.receiver.run(flow.receiver.sqe(SIZE)).error == errno.ECONNRESET


@contract("BUF-2", "BUF-3")
def test_data_for_a_closed_socket(station: Station, craft: Craft) -> None:
    """Data that comes when the application has closed its socket leaves no reference."""
    flow = craft(station)
    flow.peer.feed(SIZE)
    flow.drain(SIZE)
    flow.peer.rx.close()  # FIN_WAIT_1: data is answered with RST
    for _ in range(3):
        flow.peer.feed(SIZE)
    station.at_rest()


# -- URG --------------------------------------------------------------------------------------

# Length of each segment, and how far behind its start the urgent pointer points; 0: not urgent.
Urgent = list[tuple[int, int]]
URGENT: dict[str, Urgent] = {
    "first-byte": [(SIZE, 1)],
    "middle": [(SIZE, 500), (SIZE, 0)],
    "last-byte": [(SIZE, SIZE), (SIZE, 0)],
    "alone": [(SIZE, 0), (1, 1), (SIZE, 0)],
    "in-the-next-segment": [(SIZE, SIZE + 10), (SIZE, 0)],
    "twice": [(SIZE, 100), (SIZE, 300), (SIZE, 0)],
}


def play(peer: Peer, script: Urgent) -> int:
    """Send the segments; how many bytes that is."""
    for size, urgent in script:
        flags = Flag.ACK | Flag.URG if urgent else Flag.ACK
        peer.put(peer.next(size, flags=flags, urgent=urgent))
    return sum(size for size, _ in script)


def without_urgent(flow: CraftedFlow) -> bytes:
    """All that RECV_ZC delivers until the end of the stream."""
    data = b""
    while chunks := flow.receiver.receive():
        data += b"".join(chunk.data for chunk in chunks)
        flow.tally.add(chunks)
        flow.receiver.give_back(chunks)
    return data


@contract("RECV-25", "RECV-20")
def test_urgent_byte_among_copies(make_station: MakeStation, craft: Craft) -> None:
    """Copies end before the urgent byte, in the middle of a copy buffer, and go on behind it."""
    flow = craft(make_station(queue=UNUSED_QUEUE, copies=32, copy_size=100))
    play(flow.peer, [(SIZE, 550)])
    flow.peer.finish()
    whole = flow.peer.bytes_at(0, SIZE)
    assert without_urgent(flow) == whole[:549] + whole[550:]
    assert flow.tally.zero_copy == 0


def until_the_end(peer: Peer) -> bytes:
    """The same by recv(2)."""
    peer.rx.settimeout(30)
    data = b""
    while piece := peer.rx.recv(1 << 16):
        data += piece
    return data


@contract("RECV-25")
@pytest.mark.parametrize("name", URGENT)
def test_urgent_byte_is_passed_over(
    make_peer: MakePeer, make_station: MakeStation, craft: Craft, name: str
) -> None:
    """RECV_ZC leaves out the byte that recv(2) leaves out, and the stream goes on behind it."""
    peer = make_peer()
    length = play(peer, URGENT[name])
    peer.finish()
    whole, expected = peer.bytes_at(0, length), until_the_end(peer)
    missing = [at for at in range(length) if whole[:at] + whole[at + 1 :] == expected]
    assert len(expected) == length - 1, "one urgent byte at a time is left out"
    flow = craft(make_station())
    play(flow.peer, URGENT[name])
    flow.peer.finish()
    whole, seen = flow.peer.bytes_at(0, length), without_urgent(flow)
    # Of two like bytes beside each other either may be the one that the first stream left out.
    assert seen in [whole[:at] + whole[at + 1 :] for at in missing], (
        f"without the byte at {missing} it should be {length - 1} bytes, got {len(seen)}"
    )


@contract("RECV-25", "RECV-22", "BUF-2")
def test_urgent_byte_is_read_apart(station: Station, craft: Craft, rng: random.Random) -> None:
    """recv(MSG_OOB) gets the urgent byte, RECV_ZC what is before and behind it, in two pieces."""
    flow = craft(station)
    place = rng.randrange(2, SIZE)
    play(flow.peer, [(SIZE, place)])
    flow.peer.finish()
    whole = flow.peer.bytes_at(0, SIZE)
    flow.peer.rx.settimeout(30)
    assert flow.peer.rx.recv(1, socket.MSG_OOB) == whole[place - 1 : place]
    assert without_urgent(flow) == whole[: place - 1] + whole[place:]


@contract("RECV-25", "DEV-1")
def test_urgent_byte_inline(station: Station, craft: Craft) -> None:
    """With SO_OOBINLINE the urgent byte is one of the stream's."""
    flow = craft(station)
    flow.peer.rx.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    play(flow.peer, [(SIZE, 500), (SIZE, 0)])
    flow.drain(2 * SIZE)
    assert flow.tally.copied == 0


# -- errors that others report ----------------------------------------------------------------


@contract("RECV-14", "RECV-23")
def test_error_that_a_router_reports(station: Station, craft: Craft) -> None:
    """With IP_RECVERR a router's message ends a request that waits; the stream goes on."""
    from scapy.layers.inet import ICMP, IP, TCP

    flow = craft(station)
    peer, (ours, theirs), ports = flow.peer, flow.peer.path.addresses, flow.peer.path.ports
    peer.rx.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
    request = station.ring.push(flow.receiver.sqe(SIZE))
    station.ring.submit()
    (syn,) = {reply.seq for reply in peer.replies if reply.flags & Flag.SYN}
    quoted = IP(src=theirs, dst=ours) / TCP(sport=ports[1], dport=ports[0], seq=syn + 1)
    peer.put(peer.ether() / peer.ip() / ICMP(type=3, code=1) / bytes(quoted))
    assert station.ring.wait_for(request).error == errno.EHOSTUNREACH
    peer.feed(SIZE)
    flow.drain(SIZE)
