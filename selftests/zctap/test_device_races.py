# SPDX-License-Identifier: GPL-2.0
"""The device goes in the middle of things: requests armed, frames on their way, registration."""

import contextlib
import errno
import os
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from fixtures.links import QUEUE, LinkPool, new_link
from fixtures.registration import answer, parting, taken_over, valid
from fixtures.removal import Removal, dead, deletion, move, removed
from fixtures.stations import META, MakeStation, Station
from lib.child import Child, Hear, Say
from lib.deadline import scaled, wait_until
from lib.pattern import ROW_BYTES
from lib.uring import BufferPool, Sqe, SqeFlag, op
from lib.uring.abi import RecvSend
from lib.zctap import Debugfs, IfqReq, Zctap, wait_gone
from netns import End, Link, Namespace, ethtool, xdp

contract = pytest.mark.contract
pytestmark = pytest.mark.own_device
Change = tuple[Callable[[], None], Callable[[], None]]
ROUNDS, SPREAD = 8, 20_000  # turns of a loop: about as long as the calls take
LARGE = 2048  # pages: they are taken between the look at the device and the binding
_RTM_DELLINK, _RTM_SETLINK, _REQUEST = 17, 19, 1  # linux/rtnetlink.h, linux/netlink.h
_IFLA_NET_NS_FD = 28  # linux/if_link.h


def single(station: Station, sqe: Sqe) -> Sqe:
    """The request as it is."""
    return sqe


def multishot(station: Station, sqe: Sqe) -> Sqe:
    """The request multishot, with metadata buffers of a group."""
    BufferPool(station.ring, META, 4, 1024)
    return replace(
        sqe,
        addr=0,
        len=0,
        buf=META,
        ioprio=RecvSend.MULTISHOT,
        flags=SqeFlag.BUFFER_SELECT,
    )


@contract("REL-3", "RECV-17")
@pytest.mark.parametrize(("shape", "end"), [(multishot, "cancel"), (single, "close")])
def test_armed_request(
    own_link: Link, make_station: MakeStation, shape: Callable[[Station, Sqe], Sqe], end: str
) -> None:
    """A request that waits for data does not hold up the device, and ends as any other."""
    station = make_station(own_link)
    flow = station.flow()
    flow.transfer(3000)
    armed = station.ring.push(shape(station, flow.receiver.sqe(1 << 20)))
    station.ring.submit()
    removed(own_link, deletion)
    entry = dead(station)
    assert station.ring.reap() == [], "a completion without a cause"
    if end == "cancel":
        assert station.ring.run(op.cancel(armed)).res == 0
        cqe = station.ring.wait_for(armed)
        assert (cqe.error, cqe.more) == (errno.ECANCELED, False), cqe
        station.at_rest()
    station.close_ring()
    station.gone()
    assert not entry.exists()


@contract("REL-3", "RECV-19", "RECV-21", "BUF-4")
@pytest.mark.parametrize("removal", [deletion, move])
def test_frames_on_their_way(own_link: Link, make_station: MakeStation, removal: Removal) -> None:
    """The device goes while the peer sends as fast as it can: what has arrived is right."""
    station = make_station(own_link, pages=1024)
    flow = station.flow(rcvbuf=4 << 20)
    with feeding(lambda: flow.tcp.feed(32 << 10)):
        flow.tcp.wait_queued(20_000)
        removed(own_link, removal)
    dead(station)
    arrived = flow.tcp.queued()
    assert arrived >= 20_000
    flow.drain(arrived // 2)
    flow.tcp.read(flow.tcp.queued())
    assert flow.tcp.check.offset <= flow.tcp.sent.offset


@contextlib.contextmanager
def feeding(feed: Callable[[], object]) -> Iterator[None]:
    """Inside, another thread calls `feed` over and over."""
    over = threading.Event()

    def run() -> None:
        with contextlib.suppress(OSError):
            while not over.is_set():
                feed()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(scaled(5))


@contract("REL-3", "REL-7", "REG-19")
def test_killed_with_its_namespaces(
    zctap: Zctap, debugfs: Debugfs, steered_link: Link, link_pool: LinkPool, seed: int
) -> None:
    """A process is killed that alone had ring, sockets and namespaces: all of it ends."""

    def body(say: Say, hear: Hear) -> None:
        with new_link() as link:
            link.steer(QUEUE)
            held = Station(zctap, link, lambda: None, seed)
            flow = held.flow()
            flow.tcp.send(20_000)
            flow.tcp.wait_queued(20_000)
            say("receiving")
            hear()
            del held

    before = {entry.number for entry in debugfs.entries()}
    with Child(body) as child:
        child.expect("receiving")
        (entry,) = [entry for entry in debugfs.entries() if entry.number not in before]
        assert entry.accounting().skb
        child.kill()
    wait_gone(entry, link_pool.flusher().flush, 5)


class Spare:
    """A veth pair in one namespace, without addresses, whose deletion is one system call."""

    def __init__(self, home: End, serial: int) -> None:
        self.name = f"spare{serial}"
        with home.netlink() as ip:
            ip.link("add", ifname=self.name, kind="veth", peer={"ifname": f"{self.name}x"})
            (self.ifindex,) = ip.link_lookup(ifname=self.name)
            (self.peer,) = ip.link_lookup(ifname=f"{self.name}x")
            ip.link("set", index=self.ifindex, state="up")
        self._sock = home.ns.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)

    def delete(self) -> None:
        """DELLINK."""
        self._say(_RTM_DELLINK, self.ifindex)
        self._sock.close()

    def move(self, namespace: int) -> None:
        """SETLINK: to the namespace of that descriptor; the peer stays."""
        self._say(_RTM_SETLINK, self.ifindex, struct.pack("<HHI", 8, _IFLA_NET_NS_FD, namespace))

    def delete_by_peer(self) -> None:
        """DELLINK of the peer, which takes the device with it, wherever it is."""
        self._say(_RTM_DELLINK, self.peer)
        self._sock.close()

    def _say(self, kind: int, ifindex: int, attribute: bytes = b"") -> None:
        header = struct.pack("<IHHII", 32 + len(attribute), kind, _REQUEST, 1, 0)
        self._sock.send(header + struct.pack("<BxHiII", 0, 0, ifindex, 0, 0) + attribute)


def at_once(rng: random.Random, call: Callable[[], str], action: Callable[[], None]) -> str:
    """What `call` returns, while another thread does `action` a little earlier or later."""
    barrier, results = threading.Barrier(2), list[str]()

    def run(act: Callable[[], object], turns: int) -> None:
        barrier.wait()
        for _ in range(turns):
            pass
        act()

    threads = [
        threading.Thread(target=run, args=(act, rng.randrange(SPREAD)), daemon=True)
        for act in (lambda: results.append(call()), action)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(scaled(5))
    assert not any(thread.is_alive() for thread in threads), "one of the two calls hangs"
    return results[0]


@contract("REL-3", "REG-5", "REG-18")
def test_registration(make_station: MakeStation, explicit: None, rng: random.Random) -> None:
    """A device that is deleted while it is being bound: a dead ifq, or an errno and nothing."""
    station = make_station(register=False)
    for number in range(ROUNDS):
        spare = Spare(station.link.rx, number)
        request = valid(station, ifindex=spare.ifindex, queue_id=0)
        said = at_once(rng, partial(answer, station, request), spare.delete)
        if not said:  # else ENODEV, or what the driver says of a device on its way out
            assert parting(station, IfqReq()) == ""
        assert parting(station, IfqReq()) == "EINVAL"  # nothing is left of it
        wait_until(lambda: free(station), "the region is still taken", 0.2)
        assert parting(station, IfqReq()) == ""


@contract("REG-5", "REG-6", "REL-3", "REG-18")
def test_registration_of_one_that_moves(
    debugfs: Debugfs, make_station: MakeStation, explicit: None, rng: random.Random
) -> None:
    """A device that leaves the namespace while it is being bound: a dead ifq, or ENODEV."""
    station = make_station(pages=LARGE, register=False)
    for number in range(ROUNDS):
        spare, elsewhere = Spare(station.link.rx, number), Namespace("elsewhere")
        try:
            request = valid(station, ifindex=spare.ifindex, queue_id=0)
            move_there = partial(spare.move, elsewhere.fd)
            said = at_once(rng, partial(answer, station, request), move_there)
            assert said in ("", "ENODEV"), f"round {number}: {said}"
            if not said:
                entry = debugfs.newest()
                assert entry is not None
                state = entry.state().state
                assert state == "dead", f"{state}, and its device is in another namespace"
                assert parting(station, IfqReq()) == ""
                wait_gone(entry, station.flush)
            assert parting(station, IfqReq()) == "EINVAL"  # nothing is left of it
        finally:
            spare.delete_by_peer()
            elsewhere.close()


@contract("REL-3", "REG-20")
def test_unregistration(make_station: MakeStation, explicit: None, rng: random.Random) -> None:
    """A device that is deleted while it is being unbound: both work, and nothing is left."""
    station = make_station(register=False)
    for number in range(ROUNDS):
        spare = Spare(station.link.rx, number)
        request = valid(station, ifindex=spare.ifindex, queue_id=0)
        wait_until(partial(free, station, request), "the region is still taken", 0.2)
        assert at_once(rng, lambda: parting(station, IfqReq()), spare.delete) == ""
    wait_until(lambda: free(station), "the region is still taken", 0.2)


@contract("REL-6", "BUF-4", "REG-20")
def test_closed_while_its_poll_goes_on(
    own_link: Link, make_station: MakeStation, explicit: None
) -> None:
    """With GRO the poll outlives a binding: under load, no page of a closed queue is lost."""
    ethtool.set_offload(own_link.rx, "gro", True)
    station = make_station(own_link, register=False)
    tcp = station.flow().tcp
    tcp.rx.setblocking(False)

    def pump() -> None:
        if tcp.sent.offset < ROW_BYTES // 2:  # a fast machine comes to the end of the pattern
            tcp.feed(32 << 10)
        with contextlib.suppress(BlockingIOError):
            tcp.rx.recv(1 << 20)

    with feeding(pump):
        for _ in range(3 * ROUNDS):
            taken_over(station, 5)
            assert parting(station, IfqReq()) == ""


@pytest.fixture
def change(request: pytest.FixtureRequest, wide_link: Link) -> Iterator[Change]:
    """What must not be while the wide link's last queue is bound: to do, and to undo."""
    rx = wide_link.rx
    if request.param == "channels":
        yield partial(ethtool.set_channels, rx, 2, 4), partial(ethtool.set_channels, rx, 4, 4)
        return
    program = xdp.load_pass()
    yield partial(xdp.attach, rx, program), partial(xdp.detach, rx)
    os.close(program)


@contract("REL-3", "REG-12", "REG-13", "REG-14", "REG-18")
@pytest.mark.parametrize(
    ("change", "losing"), [("program", "EBUSY"), ("channels", "EINVAL")], indirect=["change"]
)
def test_registration_and_what_rules_it_out(
    wide_link: Link,
    change: Change,
    make_station: MakeStation,
    explicit: None,
    rng: random.Random,
    losing: str,
) -> None:
    """A program is attached, or the queue given up, while it is being bound: one of the two."""
    station, (do, undo) = make_station(wide_link, pages=16, register=False, queue=3), change
    begin = time.perf_counter()
    do()
    took = time.perf_counter() - begin
    undo()

    def register() -> str:
        # What is done in the other thread takes longer, most of it before the kernel is asked.
        begin, wait = time.perf_counter(), rng.random() * 2 * took
        while time.perf_counter() < begin + wait:
            pass
        said = ["EEXIST"]

        def settled() -> bool:
            # The region of the last round may be on its way out still (REL-1).
            said.append(answer(station, valid(station)))
            return said[-1] != "EEXIST"

        wait_until(settled, "the region is still taken", 0.2)
        return said[-1]

    for number in range(ROUNDS):
        done: list[bool] = []

        def attempt(done: list[bool] = done) -> None:
            with contextlib.suppress(OSError, NetlinkError):
                do()
                done.append(True)

        said = at_once(rng, register, attempt)
        outcome = (said, bool(done))
        expected = [("", False), (losing, True)]
        assert outcome in expected, f"round {number}: {outcome}, expected one of {expected}"
        if done:
            undo()
        else:
            assert parting(station, IfqReq()) == ""
    taken_over(station)


def free(station: Station, request: IfqReq | None = None) -> bool:
    """Bind the region (to the station's own link), unless the last round's is not released."""
    said = answer(station, request or valid(station))
    assert said in ("", "EEXIST"), said
    return not said
