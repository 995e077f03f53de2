# SPDX-License-Identifier: GPL-2.0
"""REGISTER_IFQ and UNREGISTER_IFQ: what works, what is refused and how, and what is left then."""

import ctypes
import errno
import os
import resource
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from fixtures.links import QUEUE, UNUSED_QUEUE, LinkPool
from fixtures.rings import MakeRing
from fixtures.stations import FILL, MakeStation, Station
from lib import caps
from lib.child import Child, Hear, Say
from lib.deadline import wait_until
from lib.procfs import pinned_pages, status_kib
from lib.uring import PAGE, Memory, Register, Setup
from lib.uring.abi import Restriction, RestrictionEntry
from lib.zctap import (
    Debugfs,
    Ifq,
    IfqReq,
    Zctap,
    register_ifq,
    unregister_ifq,
)
from lib.zerocopy import Region
from netns import Link, Namespace, xdp

contract = pytest.mark.contract

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p


@pytest.fixture
def idle(make_station: MakeStation) -> Station:
    """Everything that a registration needs, not registered."""
    return make_station(register=False)


@pytest.fixture
def explicit(zctap: Zctap) -> None:
    """Skips on a kernel that unregisters an ifq only with its ring."""
    if zctap.unregister_ifq is None:
        pytest.skip("this kernel has no UNREGISTER_IFQ")


def valid(station: Station, **changes: int) -> IfqReq:
    """A request that would be accepted, but for the changes."""
    fields = {
        "ifindex": station.link.rx.ifindex,
        "queue_id": station.queue,
        "fill_bgid": FILL,
        "region_id": 0,
    }
    return IfqReq(**(fields | changes))


@dataclass
class Traces:
    """What a registration leaves while it lives."""

    ifqs: set[int]
    accounted: int  # KiB of this process
    pinned: int  # pages of the whole system

    @classmethod
    def now(cls) -> "Traces":
        """Take stock."""
        ifqs = {entry.number for entry in Debugfs().entries()}
        return cls(ifqs, status_kib("VmPin") + status_kib("VmLck"), pinned_pages() or 0)

    def none_since(self, before: "Traces") -> bool:
        """Whether nothing has come on top; less there may be, as earlier rings go late."""
        return (
            self.ifqs <= before.ifqs
            and self.accounted <= before.accounted
            and self.pinned <= before.pinned
        )


def refused(
    station: Station,
    expected: int,
    req: IfqReq | int | None,
    nr_args: int = 1,
    ns: Namespace | None = None,
) -> None:
    """The registration fails with just this errno and leaves nothing behind (REG-18).

    Entering a namespace takes CAP_SYS_ADMIN, not CAP_NET_ADMIN: this works without the latter.
    """
    before = Traces.now()
    with (ns or station.link.rx.ns).entered(), pytest.raises(OSError) as caught:
        register_ifq(station.ring, station.zctap, req, nr_args)
    assert errno.errorcode[caught.value.errno or 0] == errno.errorcode[expected]
    after = Traces.now()
    assert after.none_since(before), f"left behind: {after}, before the call {before}"


def accepted(station: Station) -> None:
    """Now the valid request succeeds; the fixture checks that it ends well (REG-18)."""
    station.register()
    if station.entry is not None:
        assert station.entry.state().state == "active"


# -- the good way, and every way back ------------------------------------------------------


@contract("DBG-2", "DBG-3", "BUF-1", "BUF-4")
def test_registration_is_active_and_owns_its_pages(station: Station) -> None:
    """An ifq shows what it is bound to, and all pages are free or with the device."""
    state, accounting = station.debug().state(), station.debug().accounting()
    rx = station.link.rx
    assert (state.ifindex, state.ifname) == (rx.ifindex, rx.ifname)
    assert (state.queue_id, state.fill_bgid, state.region_id) == (QUEUE, FILL, 0)
    assert (state.pages, state.state) == (station.region.pages, "active")
    assert accounting.conserved
    assert accounting.pages == station.region.pages
    assert accounting.free + accounting.driver == station.region.pages
    assert not [line for line in station.debug().refs() if line.user or line.skb]


@contract("REG-19")
def test_closing_the_ring_unregisters(station: Station, make_station: MakeStation) -> None:
    """After close() the region goes, and the queue can be bound by another ring."""
    station.close_ring()
    station.gone()
    accepted(make_station(register=False))


@contract("REG-19")
def test_last_holder_of_the_ring_unregisters(station: Station) -> None:
    """While a copy of the descriptor is open the ifq stays; closing that ends it."""
    copy = os.dup(station.ring.fd)
    try:
        station.close_ring()
        assert station.debug().state().state == "active"
    finally:
        os.close(copy)
    station.gone()


@contract("REG-19")
def test_forked_holder_keeps_the_ifq(station: Station) -> None:
    """A child that inherited the ring keeps the ifq until it exits."""

    def body(say: Say, hear: Hear) -> None:
        say("holding")
        hear()

    with Child(body) as child:
        child.expect("holding")
        station.close_ring()
        assert station.debug().state().state == "active"
        child.finish()
    station.gone()


@contract("REG-19")
@pytest.mark.parametrize("end", [Child.finish, Child.kill], ids=["exit", "sigkill"])
def test_end_of_the_process_unregisters(
    zctap: Zctap,
    debugfs: Debugfs,
    steered_link: Link,
    link_pool: LinkPool,
    end: Callable[[Child], None],
) -> None:
    """When the process that registered goes, by itself or killed, its ifq goes too."""
    flush, before = link_pool.flusher().flush, len(debugfs.entries())

    def body(say: Say, hear: Hear) -> None:
        held = Station(zctap, steered_link, flush, 0)
        say("registered")
        hear()
        del held

    with Child(body) as child:
        child.expect("registered")
        assert [entry.state().state for entry in debugfs.entries()[before:]] == ["active"]
        end(child)
    wait_until(lambda: len(debugfs.entries()) == before, debugfs.dump, 1)


@contract("REG-20")
def test_explicit_unregistration(station: Station, explicit: None) -> None:
    """UNREGISTER_IFQ releases the region, and the ring can register the same again."""
    assert station.ifq is not None
    station.ifq.close()
    station.gone()
    accepted(station)


@contract("REG-20")
def test_registering_over_and_over(station: Station, explicit: None) -> None:
    """Ten registrations and unregistrations on one ring: the last is as good as the first."""
    for _ in range(10):
        assert station.ifq is not None
        station.ifq.close()
        station.gone()
        station.register()
    flow = station.flow()
    flow.transfer(10_000)
    assert flow.tally.zero_copy


@contract("REG-17")
def test_unregistering_nothing(idle: Station, explicit: None) -> None:
    """Without an ifq UNREGISTER_IFQ is EINVAL, before the first and after the last."""
    for _ in range(2):
        with pytest.raises(OSError) as caught:
            unregister_ifq(idle.ring, idle.zctap, IfqReq())
        assert caught.value.errno == errno.EINVAL
        idle.register()
        assert idle.ifq is not None
        idle.ifq.close()
        idle.gone()


@contract("REG-17")
def test_unregistering_another_id(station: Station, explicit: None) -> None:
    """Another ifq_id than 0 is EINVAL, and the ifq stays active."""
    with pytest.raises(OSError) as caught:
        unregister_ifq(station.ring, station.zctap, IfqReq(ifq_id=1))
    assert caught.value.errno == errno.EINVAL
    assert station.debug().state().state == "active"


# -- refused -------------------------------------------------------------------------------


@contract("REG-1", "REG-18")
def test_null_argument(idle: Station) -> None:
    """No argument is EINVAL."""
    refused(idle, errno.EINVAL, None)
    accepted(idle)


@contract("REG-1", "REG-18")
@pytest.mark.parametrize("nr_args", [0, 2, 0xFFFFFFFF])
def test_wrong_number_of_arguments(idle: Station, nr_args: int) -> None:
    """Any other number of arguments than one is EINVAL."""
    refused(idle, errno.EINVAL, valid(idle), nr_args)
    accepted(idle)


@contract("REG-2", "REG-18")
def test_unreadable_argument(idle: Station) -> None:
    """An argument that is not mapped, or only its first half, is EFAULT."""
    refused(idle, errno.EFAULT, 8)
    with Memory(2 * PAGE) as area:
        forbid(area.addr + PAGE)
        refused(idle, errno.EFAULT, area.addr + PAGE - 8)
        refused(idle, errno.EFAULT, area.addr + PAGE)
    accepted(idle)


def forbid(addr: int) -> None:
    """Take all access to a page away."""
    if libc.mprotect(ctypes.c_void_p(addr), ctypes.c_size_t(PAGE), 0):
        raise OSError(ctypes.get_errno(), "mprotect")


@contract("REG-3", "REG-18")
@pytest.mark.parametrize("ifq_id", [1, 0xFFFF])
def test_second_ifq_id(idle: Station, ifq_id: int) -> None:
    """A ring has one ifq, number 0: any other is EFAULT."""
    refused(idle, errno.EFAULT, valid(idle, ifq_id=ifq_id))
    accepted(idle)


@contract("REG-4", "REG-18")
def test_ring_has_an_ifq(station: Station) -> None:
    """A second registration on the ring is EBUSY, and the first goes on working."""
    refused(station, errno.EBUSY, valid(station))
    refused(station, errno.EBUSY, valid(station, queue_id=UNUSED_QUEUE))
    flow = station.flow()
    flow.transfer(10_000)
    assert flow.tally.zero_copy


@contract("REG-5", "REG-18")
@pytest.mark.parametrize("ifindex", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_no_such_device(idle: Station, ifindex: int) -> None:
    """An interface index that nothing has is ENODEV."""
    refused(idle, errno.ENODEV, valid(idle, ifindex=ifindex))
    accepted(idle)


@contract("REG-5", "REG-18")
def test_device_of_another_namespace(idle: Station) -> None:
    """The index is looked up in the caller's namespace: elsewhere it is ENODEV."""
    empty = Namespace("empty")
    try:
        refused(idle, errno.ENODEV, valid(idle), ns=empty)
    finally:
        empty.close()
    accepted(idle)


@contract("REG-6", "REG-18")
def test_without_net_admin(idle: Station) -> None:
    """Without CAP_NET_ADMIN over the device's namespace it is EPERM."""
    with caps.without(caps.CAP_NET_ADMIN):
        refused(idle, errno.EPERM, valid(idle))
    accepted(idle)


@contract("REG-7", "REG-18")
@pytest.mark.parametrize("region_id", [1, 15, 16, 0xFFFF])
def test_region_that_is_no_buffer(idle: Station, region_id: int) -> None:
    """An empty slot of the table, and a number beyond it, are EFAULT."""
    refused(idle, errno.EFAULT, valid(idle, region_id=region_id))
    accepted(idle)


@contract("REG-7", "REG-18")
def test_region_without_any_buffers(idle: Station) -> None:
    """A ring without registered buffers: EFAULT, until the region is registered."""
    idle.ring.unregister_buffers()
    refused(idle, errno.EFAULT, valid(idle))
    idle.region.register(idle.ring)
    accepted(idle)


@contract("REG-8", "REG-18")
@pytest.mark.parametrize(("begin", "end"), [(512, 0), (0, -512), (512, -512), (1, 0), (0, -1)])
def test_region_off_the_page(idle: Station, begin: int, end: int) -> None:
    """A region that starts or ends inside a page is EFAULT."""
    region = idle.region
    idle.ring.update_buffer(1, region.addr + begin, region.size - begin + end)
    refused(idle, errno.EFAULT, valid(idle, region_id=1))
    accepted(idle)


@contract("REG-10", "REG-18")
def test_page_of_another_ifq(station: Station, make_station: MakeStation, zctap: Zctap) -> None:
    """One page that belongs to another ifq is EEXIST, until that one is gone."""
    second = make_station(register=False, queue=UNUSED_QUEUE)
    second.ring.update_buffer(
        1, station.region.page_addr(station.region.pages - 1), PAGE
    )  # the last page only
    refused(second, errno.EEXIST, valid(second, region_id=1))
    station.close()
    register = valid(second, region_id=1)
    with second.link.rx.ns.entered():
        register_ifq(second.ring, zctap, register)


@contract("REG-10", "REG-18")
def test_page_twice_in_the_region(idle: Station) -> None:
    """A region that has one page at two addresses is EEXIST."""
    fd = os.memfd_create("twice")
    try:
        os.ftruncate(fd, PAGE)
        with Memory(2 * PAGE) as area:
            map_twice(fd, area.addr)
            idle.ring.update_buffer(1, area.addr, 2 * PAGE)
            refused(idle, errno.EEXIST, valid(idle, region_id=1))
            idle.ring.update_buffer(1, 0, 0)
    finally:
        os.close(fd)
    accepted(idle)


def map_twice(fd: int, addr: int) -> None:
    """Map the first page of a file over two pages at `addr`."""
    for at in (addr, addr + PAGE):
        args = (ctypes.c_void_p(at), ctypes.c_size_t(PAGE), 3, 0x11, fd, ctypes.c_long(0))
        if libc.mmap(*args) != at:  # MAP_SHARED | MAP_FIXED
            raise OSError(ctypes.get_errno(), "mmap")


@contract("REG-11", "REG-18")
@pytest.mark.parametrize("pad", [(1, 0), (0, 1)])
def test_padding(idle: Station, pad: tuple[int, int]) -> None:
    """Padding that is not zero is EINVAL."""
    req = valid(idle)
    req.pad[:] = pad
    refused(idle, errno.EINVAL, req)
    accepted(idle)


@contract("REG-12", "REG-18")
def test_device_without_zctap(idle: Station) -> None:
    """A device whose driver has no such command, here lo, is EINVAL."""
    refused(idle, errno.EINVAL, valid(idle, ifindex=1))
    accepted(idle)


@contract("REG-13", "REG-18")
@pytest.mark.parametrize("queue_id", [2, 0xFFFF])
def test_queue_out_of_range(idle: Station, queue_id: int) -> None:
    """A queue that the device does not have is EINVAL."""
    refused(idle, errno.EINVAL, valid(idle, queue_id=queue_id))
    accepted(idle)


@contract("REG-14", "REG-18")
def test_queue_of_another_ifq(station: Station, make_station: MakeStation) -> None:
    """A queue that is bound is EBUSY, until its ifq is closed."""
    second = make_station(register=False)
    refused(second, errno.EBUSY, valid(second))
    station.close()
    accepted(second)


@contract("REG-14")
def test_two_queues_of_a_device(station: Station, bystander: Station) -> None:
    """Two rings bind a queue each, and each shows its own."""
    assert station.debug().number != bystander.debug().number
    assert station.debug().state().queue_id == QUEUE
    assert bystander.debug().state().queue_id == UNUSED_QUEUE


@contract("REG-14", "REG-18")
def test_device_with_an_xdp_program(own_link: Link, make_station: MakeStation) -> None:
    """A device with an XDP program is EBUSY, until the program is detached."""
    station = make_station(own_link, register=False)
    with xdp.attached(own_link.rx):
        refused(station, errno.EBUSY, valid(station))
    accepted(station)


@contract("REL-3")
def test_xdp_program_for_a_bound_device(own_link: Link, make_station: MakeStation) -> None:
    """While a queue is bound no XDP program can be attached, and the ifq works on."""
    flow = make_station(own_link).flow()
    with pytest.raises(NetlinkError), xdp.attached(own_link.rx):
        pass
    flow.transfer(10_000)
    assert flow.tally.zero_copy


@contract("REG-21", "REG-18")
def test_memory_lock_limit(make_station: MakeStation) -> None:
    """Without CAP_IPC_LOCK the region is charged to the limit, beside the fixed buffer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    pages = 64
    with caps.without(caps.CAP_IPC_LOCK):  # judged when the ring is made
        station = make_station(pages=pages, register=False)
    try:
        # All that this user has locked so far is the fixed buffer: room for it, not for a second.
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (pages * PAGE * 3 // 2, hard))
        with caps.without(caps.CAP_IPC_LOCK):
            refused(station, errno.ENOMEM, valid(station))
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (pages * PAGE * 2, hard))
            accepted(station)
    finally:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (soft, hard))


@contract("REG-23")
def test_first_of_several_causes_is_told(station: Station, explicit: None) -> None:
    """With everything wrong at once the errors come in their order, as the causes go."""
    req = valid(station, ifq_id=1, ifindex=0x7FFFFFFF, region_id=9, queue_id=99)
    req.pad[0] = 1
    refused(station, errno.EINVAL, req)
    req.pad[0] = 0
    refused(station, errno.EFAULT, req)
    req.ifq_id = 0
    refused(station, errno.EBUSY, req)
    assert station.ifq is not None
    station.ifq.close()
    station.gone()
    refused(station, errno.ENODEV, req)
    req.ifindex = station.link.rx.ifindex
    with caps.without(caps.CAP_NET_ADMIN):
        refused(station, errno.EPERM, req)
    refused(station, errno.EFAULT, req)
    req.region_id = 0
    refused(station, errno.EINVAL, req)
    accepted(station)


@contract("REG-15")
def test_restricted_ring(
    make_ring: MakeRing, zctap: Zctap, steered_link: Link, debugfs: Debugfs
) -> None:
    """A ring whose restrictions do not name the opcode says EACCES."""
    ring, before = make_ring(8, Setup.R_DISABLED), len(debugfs.entries())
    allowed = (RestrictionEntry * 1)(
        RestrictionEntry(Restriction.REGISTER_OP, Register.ENABLE_RINGS)
    )
    with Region(4) as region:
        region.register(ring)
        ring.register(Register.RESTRICTIONS, allowed, 1)
        ring.enable()
        with steered_link.rx.ns.entered(), pytest.raises(PermissionError) as caught:
            Ifq(
                ring,
                zctap,
                region,
                ifindex=steered_link.rx.ifindex,
                queue_id=QUEUE,
                fill_bgid=FILL,
            )
    assert caught.value.errno == errno.EACCES
    assert len(debugfs.entries()) == before


@contract("REG-24")
@pytest.mark.usefixtures("prompt_frees")
def test_region_of_one_page(make_station: MakeStation) -> None:
    """A region smaller than what the device likes to post works, if slowly."""
    station = make_station(pages=1)
    flow = station.flow()
    flow.tcp.send(700)
    chunks = flow.take(700)
    assert flow.tally.zero_copy == 700
    flow.receiver.give_back(chunks)
    flow.tcp.send(700)
    flow.drain(700)
