# SPDX-License-Identifier: GPL-2.0
"""The ways a ring can end, at rest and in mid-transfer: its ifq ends with it (REG-19).

Whether it has ended is asked by binding the same queue and the same memory from another ring,
which needs no debugfs.
"""

import ctypes
import mmap
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from fixtures.links import Connect, LinkPool
from fixtures.registration import answer, parting, receives, taken_over, valid
from fixtures.stations import Flow, MakeStation, Station
from lib.child import Child, Hear, Say
from lib.zctap import IfqReq, Zctap
from lib.zerocopy import Region
from netns import Connection, Link

contract = pytest.mark.contract
# Regions are small here, and must not run dry for pages that are parked on an idle CPU.
pytestmark = [pytest.mark.zero_copy, pytest.mark.usefixtures("pins_return", "prompt_frees")]

PAGES = 64
UNREAD = 20_000
_NR_PIDFD_GETFD = 438  # syscall_64.tbl
_libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def region() -> Iterator[Region]:
    """Memory that child processes share with us."""
    with Region(PAGES, mmap.MAP_SHARED) as shared:
        yield shared


@pytest.fixture
def successor(region: Region, make_station: MakeStation) -> Station:
    """A ring that wants the same queue and the same memory."""
    return make_station(region=region, register=False)


def held(successor: Station) -> None:
    """Someone has the region."""
    assert answer(successor, valid(successor)) == "EEXIST"


def start_transfer(station: Station, busy: Connection, quiet: Connection) -> None:
    """Pages in the user's hands, bytes in a socket, and a request that waits for more."""
    flow = Flow(busy, station.receiver(busy.rx))
    busy.wait_queued(UNREAD)
    assert any(chunk.zero_copy for chunk in flow.take(5000))
    waiting = station.receiver(quiet.rx)
    station.ring.push(waiting.sqe(1000))
    station.ring.submit()


# -- in a process of its own ---------------------------------------------------------------


Last = Callable[[Station, Hear], None]


@dataclass
class Owner:
    """Makes a process that owns a ring, its ifq, and the receiving ends of two connections."""

    zctap: Zctap
    link: Link
    flush: Callable[[], None]
    region: Region
    connect: Connect
    fd: int = -1  # of the ring, in the process

    def start(self, last: Last, *, transfer: bool = False) -> Child:
        """The process, with its ifq bound; `last` is what it does when it is spoken to."""
        busy, quiet = (self.connect(), self.connect()) if transfer else (None, None)

        def body(say: Say, hear: Hear) -> None:
            station = Station(self.zctap, self.link, self.flush, 0, region=self.region)
            say(str(station.ring.fd))
            if busy and quiet:
                start_transfer(station, busy, quiet)
                say("receiving")
            hear()
            last(station, hear)

        child = Child(body)
        self.fd = int(child.hear())
        if busy and quiet:
            busy.rx.close()
            quiet.rx.close()
            busy.send(UNREAD)
            child.expect("receiving")
            busy.feed(1 << 20)  # some of it is still on its way when the end comes
        return child


@pytest.fixture
def owner(
    zctap: Zctap, steered_link: Link, link_pool: LinkPool, region: Region, connect: Connect
) -> Owner:
    """Makes owners of the shared memory."""
    return Owner(zctap, steered_link, link_pool.flusher().flush, region, connect)


def leave(_station: Station, _hear: Hear) -> None:
    """Return, and exit."""


def wait_for_death(_station: Station, hear: Hear) -> None:
    """Do nothing more."""
    hear()


transfers = pytest.mark.parametrize("transfer", [False, True], ids=["at-rest", "in-transfer"])


@contract("REG-19", "REL-4", "REL-10", "RECV-17")
@transfers
def test_exit(owner: Owner, successor: Station, transfer: bool) -> None:
    """The process exits with everything open: queue and region can be bound, and work."""
    with owner.start(leave, transfer=transfer) as child:
        held(successor)
        child.finish()
        taken_over(successor)
    receives(successor)


@contract("REG-19", "REL-4", "REL-10", "RECV-17")
@transfers
def test_sigkill(owner: Owner, successor: Station, transfer: bool) -> None:
    """The process is killed: queue and region can be bound, and work."""
    with owner.start(wait_for_death, transfer=transfer) as child:
        held(successor)
        child.kill()
        taken_over(successor)
    receives(successor)


@contract("REG-19", "REL-4", "REL-10", "RECV-17")
@transfers
def test_exec_with_close_on_exec(owner: Owner, successor: Station, transfer: bool) -> None:
    """Another program takes the process over: its ring is closed, though the process goes on."""
    reader, writer = os.pipe()
    with owner.start(lambda _station, _hear: become_cat(reader), transfer=transfer) as child:
        held(successor)
        child.say("exec")
        assert child.hear() == ""  # closed by exec(2), as is the ring
        taken_over(successor)
        assert alive(child), "the program was to run until its input ends"
        os.close(writer)
        assert child.wait() == 0
    os.close(reader)
    receives(successor)


@contract("REG-19")
def test_exec_without_close_on_exec(owner: Owner, successor: Station) -> None:
    """A ring that is left open for the next program keeps its ifq until that ends."""
    reader, writer = os.pipe()

    def last(station: Station, _hear: Hear) -> None:
        os.set_inheritable(station.ring.fd, True)
        become_cat(reader)

    with owner.start(last) as child:
        child.say("exec")
        assert child.hear() == ""
        held(successor)
        os.close(writer)
        assert child.wait() == 0
        taken_over(successor)
    os.close(reader)


def become_cat(reader: int) -> None:
    """Turn into a program that lives until the pipe ends."""
    os.dup2(reader, 0)
    os.execv("/bin/cat", ["cat"])


def alive(child: Child) -> bool:
    """Whether the process has not ended."""
    return os.waitpid(child.pid, os.WNOHANG) == (0, 0)


# -- the last of several holders -----------------------------------------------------------


@pytest.fixture
def station(region: Region, make_station: MakeStation) -> Station:
    """A ring of our own over the shared memory."""
    return make_station(region=region)


@contract("REG-19", "REL-4", "REL-10")
def test_close(station: Station, successor: Station) -> None:
    """After close(2) queue and region can be bound, and work."""
    held(successor)
    station.close_ring()
    taken_over(successor)
    receives(successor)


@contract("REG-19", "REL-4", "REL-5", "RECV-17", "REL-9")
def test_close_in_transfer(station: Station, successor: Station, make_station: MakeStation) -> None:
    """Closed with a request armed and data unread: the queue is free, the region when it is read.

    The data is intact, though the queue has long belonged to another ring.
    """
    busy, quiet = station.flow(), station.flow()
    busy.tcp.send(UNREAD)
    start_transfer(station, busy.tcp, quiet.tcp)
    station.close_ring()
    heir = make_station(register=False, pages=PAGES)
    taken_over(heir)
    held(successor)
    receives(heir)
    heir.close()
    busy.tcp.read(UNREAD - busy.tcp.check.offset)
    taken_over(successor)
    receives(successor)


@contract("REG-19")
def test_mappings_are_holders(station: Station, successor: Station) -> None:
    """With the descriptor closed the mappings of the rings keep the ifq, until they go, too."""
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, station.ring.fd)  # closes the ring's; what is unmapped later stays for now
    os.close(null)
    held(successor)
    station.close_ring()
    taken_over(successor)


@contract("REG-19")
def test_copied_descriptor(station: Station, successor: Station) -> None:
    """While a copy of the descriptor is open the ifq stays; closing that ends it."""
    copy = os.dup(station.ring.fd)
    try:
        station.close_ring()
        held(successor)
    finally:
        os.close(copy)
    taken_over(successor)


@contract("REG-19")
@pytest.mark.parametrize("end", [Child.finish, Child.kill], ids=["exit", "sigkill"])
def test_forked_holder(station: Station, successor: Station, end: Callable[[Child], None]) -> None:
    """A child that inherited the ring keeps the ifq until it ends."""

    def body(say: Say, hear: Hear) -> None:
        say("holding")
        hear()

    with Child(body) as child:
        child.expect("holding")
        station.close_ring()
        held(successor)
        end(child)
    taken_over(successor)


@contract("REG-19")
@transfers
def test_descriptor_taken_by_pidfd(owner: Owner, successor: Station, transfer: bool) -> None:
    """A ring taken out of a process with pidfd_getfd outlives it, killed in mid-transfer, too."""
    with owner.start(wait_for_death, transfer=transfer) as child:
        pidfd = os.pidfd_open(child.pid)
        taken = _libc.syscall(ctypes.c_long(_NR_PIDFD_GETFD), pidfd, owner.fd, 0)
        os.close(pidfd)
        assert taken >= 0, f"pidfd_getfd: {os.strerror(ctypes.get_errno())}"
        child.kill()
        try:
            held(successor)
        finally:
            os.close(taken)
        taken_over(successor)
    receives(successor)


@contract("REG-19", "REG-20")
def test_holder_unregisters(station: Station, successor: Station, explicit: None) -> None:
    """A child that inherited the ring can give its ifq up for all holders."""

    def body(say: Say, hear: Hear) -> None:
        assert station.ifq is not None
        station.ifq.close()
        say("unregistered")
        hear()

    with Child(body) as child:
        child.expect("unregistered")
        taken_over(successor)
        assert parting(station, IfqReq()) == "EINVAL"
        child.finish()
    receives(successor)
