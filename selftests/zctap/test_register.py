# SPDX-License-Identifier: GPL-2.0
"""REGISTER_IFQ and UNREGISTER_IFQ: what works, over and over, and what is left then."""

import pytest

from fixtures.links import QUEUE, UNUSED_QUEUE
from fixtures.registration import accepted, active, parting, receives, taken_over, valid
from fixtures.stations import FILL, MakeStation, Station
from lib.uring import PAGE, Memory
from lib.zctap import FillRing, Ifq, IfqReq, Zctap

contract = pytest.mark.contract
pytestmark = [pytest.mark.zero_copy, pytest.mark.usefixtures("pins_return")]


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


@contract("REG-20")
def test_explicit_unregistration(station: Station, explicit: None) -> None:
    """UNREGISTER_IFQ releases the region, and the ring can register the same again."""
    assert station.ifq is not None
    station.ifq.close()
    station.gone()
    accepted(station)
    receives(station)


@contract("REG-20")
def test_success_is_0(make_station: MakeStation, explicit: None) -> None:
    """Both calls return 0, and nothing else that is no error."""
    station = make_station(register=False)
    ring, zctap = station.ring, station.zctap
    assert zctap.unregister_ifq is not None
    with station.link.rx.ns.entered():
        assert ring.register(zctap.register_ifq, valid(station), 1) == 0
    assert ring.register(zctap.unregister_ifq, IfqReq(), 1) == 0
    taken_over(station)


@contract("REG-20")
def test_registering_over_and_over(station: Station, explicit: None) -> None:
    """Ten registrations and unregistrations on one ring: the last is as good as the first."""
    for _ in range(10):
        assert station.ifq is not None
        station.ifq.close()
        station.gone()
        station.register()
    receives(station)


@contract("REG-20", "REG-14")
def test_ring_moves_to_another_queue(station: Station, explicit: None) -> None:
    """After UNREGISTER_IFQ the ring binds another queue, and the first one is left alone."""
    assert station.ifq is not None
    station.ifq.close()
    station.gone()
    station.queue = UNUSED_QUEUE
    accepted(station)
    flow = station.flow()
    flow.transfer(10_000)
    assert flow.tally.zero_copy == 0
    station.link.steer(UNUSED_QUEUE)
    try:
        flow.transfer(10_000)
    finally:
        station.link.steer(QUEUE)
    assert flow.tally.zero_copy, "nothing arrived through the second queue"


@contract("REG-17")
def test_unregistering_nothing(idle: Station, explicit: None) -> None:
    """Without an ifq UNREGISTER_IFQ is EINVAL, before the first and after the last."""
    for _ in range(2):
        assert parting(idle, IfqReq()) == "EINVAL"
        idle.register()
        assert parting(idle, IfqReq()) == ""
        idle.gone()
    assert parting(idle, IfqReq()) == "EINVAL"


@contract("REG-17", "REG-11")
def test_unregistration_names_only_the_id(station: Station, explicit: None) -> None:
    """Another id, and anything in any other field, is EINVAL, and the ifq stays."""
    index = station.link.rx.ifindex
    requests = [
        IfqReq(ifq_id=1),
        IfqReq(ifq_id=0xFFFF),
        IfqReq(ifindex=index),
        IfqReq(queue_id=station.queue),
        IfqReq(fill_bgid=FILL),
        IfqReq(region_id=1),
        IfqReq(pad=(1, 0)),
        IfqReq(pad=(0, 1)),
        valid(station),
    ]
    seen = {bytes(req).hex(): parting(station, req) for req in requests}
    assert set(seen.values()) == {"EINVAL"}, f"answers by request: {seen}"
    active(station)
    receives(station)


@contract("REG-1", "REG-2")
def test_unregistration_needs_its_argument(station: Station, explicit: None) -> None:
    """NULL or another number of arguments is EINVAL, an unreadable one EFAULT; the ifq stays."""
    assert [parting(station, IfqReq(), count) for count in (0, 2, 0xFFFFFFFF)] == ["EINVAL"] * 3
    assert parting(station, None) == "EINVAL"
    assert parting(station, 8) == "EFAULT"
    with Memory(2 * PAGE) as area:
        area.protect(0, at=PAGE)
        assert parting(station, area.addr + PAGE - 8) == "EFAULT"
    active(station)
    receives(station)


@contract("REG-14")
def test_two_queues_of_a_device(station: Station, bystander: Station) -> None:
    """Two rings bind a queue each, and each shows its own."""
    assert station.debug().number != bystander.debug().number
    assert station.debug().state().queue_id == QUEUE
    assert bystander.debug().state().queue_id == UNUSED_QUEUE


@contract("REG-20", "REG-4")
def test_two_rings_come_and_go_by_themselves(
    station: Station, bystander: Station, explicit: None
) -> None:
    """Unregistering one ring's ifq leaves the other's on the same device as it was."""
    assert bystander.ifq is not None
    bystander.ifq.close()
    bystander.gone()
    active(station)
    receives(station)
    accepted(bystander)
    active(station)


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


@contract("DBG-2", "FILL-1", "REG-7")
@pytest.mark.usefixtures("prompt_frees")
def test_last_slot_and_highest_group(make_station: MakeStation, zctap: Zctap) -> None:
    """The region is the buffer named and the fill ring the group named, not the first ones."""
    station = make_station(register=False, fill_group=False)
    region, rx = station.region, station.link.rx
    region.register(station.ring, 15)
    station.fill = FillRing(station.ring, 0xFFFF, region)
    with rx.ns.entered():
        station.ifq = Ifq(
            station.ring,
            zctap,
            region,
            ifindex=rx.ifindex,
            queue_id=station.queue,
            fill_bgid=0xFFFF,
        )
    station.entry = station.ifq.entry
    flow = station.flow()
    flow.transfer(2 * region.size)  # so that pages have to come back through the fill ring
    assert flow.tally.zero_copy > region.size, f"the fill ring was not used: {flow.tally}"
    if station.entry is not None:
        state = station.entry.state()
        assert (state.fill_bgid, state.region_id) == (0xFFFF, 15)
