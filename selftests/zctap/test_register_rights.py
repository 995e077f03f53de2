# SPDX-License-Identifier: GPL-2.0
"""Who may register what: namespaces, capabilities, and the limit of locked memory."""

import errno
import resource
import socket
from collections.abc import Callable, Iterator

import pytest

from fixtures.links import QUEUE
from fixtures.registration import (
    accepted,
    answer,
    parting,
    receives,
    refused,
    taken_over,
    valid,
)
from fixtures.stations import Flow, MakeStation, Station
from lib import caps
from lib.child import Child, Hear, Say
from lib.deadline import wait_until
from lib.procfs import status_kib
from lib.softirq import Flusher
from lib.uring import PAGE, Ring
from lib.zctap import IfqReq, Zctap, register_ifq, unregister_ifq
from lib.zerocopy import Region
from netns import Link, Namespace

contract = pytest.mark.contract
pytestmark = [pytest.mark.zero_copy, pytest.mark.usefixtures("pins_return")]

PAGES = 64
DRAINING = 10_000  # bytes
NOBODY = 65_534


# -- namespaces ----------------------------------------------------------------------------


@contract("REG-5", "REG-18")
def test_no_such_device(idle: Station) -> None:
    """An interface index that nothing has is ENODEV."""
    for ifindex in (0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
        refused(idle, errno.ENODEV, valid(idle, ifindex=ifindex))
    accepted(idle)


@pytest.fixture
def elsewhere() -> Iterator[Namespace]:
    """A network namespace with nothing in it."""
    ns = Namespace("elsewhere")
    yield ns
    ns.close()


@contract("REG-5", "REG-18")
def test_device_of_another_namespace(idle: Station, elsewhere: Namespace) -> None:
    """The index is looked up in the caller's namespace: elsewhere it is ENODEV."""
    refused(idle, errno.ENODEV, valid(idle), ns=elsewhere)
    accepted(idle)


@contract("REG-5", "REG-12", "REG-18")
def test_same_index_in_another_namespace(idle: Station, elsewhere: Namespace) -> None:
    """The caller's device of that index is meant, here one that has no zctap, and no other."""
    from netns.link import IPRoute

    with elsewhere.entered(), IPRoute() as ip:
        ip.link("add", ifname="same", kind="dummy", index=idle.link.rx.ifindex)
    refused(idle, errno.EINVAL, valid(idle), ns=elsewhere)
    accepted(idle)


# -- capabilities --------------------------------------------------------------------------


@contract("REG-6", "REG-18")
def test_without_net_admin(idle: Station) -> None:
    """Without CAP_NET_ADMIN over the device's namespace it is EPERM."""
    with caps.without(caps.CAP_NET_ADMIN):
        refused(idle, errno.EPERM, valid(idle))
    accepted(idle)


@contract("REG-20")
def test_unregistering_takes_no_capability(station: Station, explicit: None) -> None:
    """Who may use the ring may give its ifq up, and it is gone then."""
    with caps.without(caps.CAP_NET_ADMIN):
        assert parting(station, IfqReq()) == ""
    station.gone()
    accepted(station)


def run(body: Callable[[], None], ns: Namespace | None = None) -> None:
    """Run it in a process, started in that namespace; its failure is ours, its skip, too."""

    def guarded(say: Say, hear: Hear) -> None:
        try:
            body()
            say("done")
        except pytest.skip.Exception as skipped:
            say(f"skip: {skipped}")
        hear()

    if ns is None:
        child = Child(guarded)
    else:
        with ns.entered():
            child = Child(guarded)
    with child:
        word = child.hear(20)
        if word.startswith("skip: "):
            pytest.skip(word[6:])
        assert word == "done", word
        child.finish()


def enter_user_namespace(*, network: bool = False) -> None:
    """A user namespace of the process's own, or a skip."""
    try:
        caps.own_user_namespace(network=network)
    except OSError as error:
        pytest.skip(f"no user namespace: {error}")


def register_in_place(zctap: Zctap, ring: Ring, ifindex: int, region: Region) -> str:
    """Register in the namespace that the process is in: the errno's name, "" if accepted."""
    try:
        register_ifq(
            ring,
            zctap,
            IfqReq(ifindex=ifindex, queue_id=QUEUE, fill_bgid=1, region_id=region.index),
        )
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return ""


@contract("REG-6")
def test_root_of_another_user_namespace(zctap: Zctap, steered_link: Link) -> None:
    """All capabilities in a user namespace that does not own the device's: EPERM."""
    ifindex = steered_link.rx.ifindex

    def body() -> None:
        enter_user_namespace()
        with Ring(8) as ring, Region(8) as region:
            region.register(ring)
            assert register_in_place(zctap, ring, ifindex, region) == "EPERM"

    run(body, steered_link.rx.ns)


@contract("REG-6")
def test_owner_of_the_network_namespace(zctap: Zctap, steered_link: Link, seed: int) -> None:
    """CAP_NET_ADMIN over the device's namespace is enough, when it is nowhere else, too."""

    def body() -> None:
        enter_user_namespace(network=True)
        with Link() as link:
            link.steer(QUEUE)
            flusher = Flusher(link.rx.ns.socket(socket.AF_INET, socket.SOCK_DGRAM))
            station = Station(zctap, link, flusher.flush, seed, pages=PAGES)
            receives(station, rcvbuf=None)  # a larger buffer takes a capability elsewhere
            station.close()
            flusher.close()

    run(body)


# -- locked memory -------------------------------------------------------------------------


@contract("REG-21", "REG-6", "REG-20")
def test_users_memory_is_accounted(zctap: Zctap, steered_link: Link, explicit: None) -> None:
    """A user's region counts as pinned beside the fixed buffer, without it too, and no longer."""
    ifindex = steered_link.rx.ifindex

    def pinned() -> int:
        return (status_kib("VmPin") + status_kib("VmLck")) * 1024 // PAGE

    def body() -> None:
        caps.become(NOBODY, caps.CAP_NET_ADMIN)
        with Ring(8) as ring, Region(PAGES) as region:
            before = pinned()
            region.register(ring)
            buffer = pinned() - before
            assert register_in_place(zctap, ring, ifindex, region) == ""
            assert pinned() - before == buffer + PAGES, f"{pinned()} pinned, {before} at first"
            ring.unregister_buffers()
            assert pinned() - before == PAGES, f"{pinned()} pinned, {before} at first"
            unregister_ifq(ring, zctap, IfqReq())
            wait_until(lambda: pinned() == before, "the region is still accounted for", 1)

    run(body, steered_link.rx.ns)


@pytest.fixture
def limited(make_station: MakeStation) -> Iterator[tuple[Station, Callable[[int], None]]]:
    """A station that the memory-lock limit holds for, and what sets the limit, in pages.

    The fixed buffer of PAGES pages is all that its user has locked.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    with caps.without(caps.CAP_IPC_LOCK):  # judged when the ring is made
        station = make_station(pages=PAGES, register=False)
    with caps.without(caps.CAP_IPC_LOCK):
        yield (
            station,
            lambda pages: resource.setrlimit(resource.RLIMIT_MEMLOCK, (pages * PAGE, hard)),
        )
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (soft, hard))


Limited = tuple[Station, Callable[[int], None]]


@contract("REG-21", "REG-18")
def test_memory_lock_limit(limited: Limited) -> None:
    """The region is charged to the limit beside the fixed buffer: a page too much is ENOMEM."""
    station, limit = limited
    limit(2 * PAGES - 1)
    refused(station, errno.ENOMEM, valid(station))
    limit(2 * PAGES)
    accepted(station)


@contract("REG-21", "REG-20")
def test_limit_is_credited_on_release(limited: Limited, explicit: None) -> None:
    """Under a limit for just one region it is bound again and again."""
    station, limit = limited
    limit(2 * PAGES)
    for _ in range(3):
        accepted(station)
        assert parting(station, IfqReq()) == ""
        station.gone()


def drains(station: Station) -> Flow:
    """Payload that lies in the region when its ifq is closed, in whichever way comes next."""
    flow = station.flow()
    flow.tcp.send(DRAINING)
    flow.tcp.wait_queued(DRAINING)
    if station.entry is not None:
        assert station.entry.accounting().skb, station.entry.dump()
    return flow


@contract("REG-21", "REG-20", "REL-10")
def test_limit_is_credited_after_a_drain(limited: Limited, explicit: None) -> None:
    """So it is when the region has had to drain."""
    station, limit = limited
    limit(2 * PAGES)
    for _ in range(3):
        taken_over(station)
        flow = drains(station)
        assert parting(station, IfqReq()) == ""
        flow.tcp.read(DRAINING)
    taken_over(station)


@contract("REG-21", "REG-19", "REL-7")
def test_limit_is_credited_to_the_next_ring(limited: Limited, make_station: MakeStation) -> None:
    """A region whose ring is closed is charged while it drains, and its user's no longer."""
    station, limit = limited
    accepted(station)
    flow = drains(station)
    station.close_ring()
    second = make_station(pages=PAGES, register=False)
    limit(2 * PAGES)
    said = answer(second, valid(second))
    assert said == "ENOMEM", f"beside a region that drains: {said!r}, expected ENOMEM"
    flow.tcp.read(DRAINING)
    taken_over(second)


@contract("REG-21", "REG-18")
def test_limit_is_credited_on_failure(limited: Limited) -> None:
    """Registrations refused for their queue leave nothing charged."""
    station, limit = limited
    limit(2 * PAGES)
    for _ in range(3):
        assert answer(station, valid(station, queue_id=99)) == "EINVAL"
    accepted(station)


@contract("REG-21", "BUF-5")
def test_charge_stays_when_the_buffer_goes(limited: Limited) -> None:
    """With the fixed buffer unregistered the region alone stays charged."""
    station, limit = limited
    limit(2 * PAGES)
    accepted(station)
    station.ring.unregister_buffers()
    with Region(PAGES) as another:
        limit(2 * PAGES - 1)
        with pytest.raises(OSError, match="io_uring_register") as caught:
            another.register(station.ring)
        assert caught.value.errno == errno.ENOMEM
        limit(2 * PAGES)
        another.register(station.ring)
        station.ring.unregister_buffers()
