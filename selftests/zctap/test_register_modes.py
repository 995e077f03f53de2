# SPDX-License-Identifier: GPL-2.0
"""Rings of all kinds: each registers, receives and unregisters, or says what it always says."""

import errno
import threading
from collections.abc import Callable

import pytest

from fixtures.registration import accepted, active, answer, parting, receives, valid
from fixtures.stations import MakeStation, Station
from lib.uring import Register, Setup, op
from lib.uring.abi import Op, Restriction, RestrictionEntry
from lib.zctap import IfqReq, Zctap

contract = pytest.mark.contract
# Regions are small here, and must not run dry for pages that are parked on an idle CPU.
pytestmark = [pytest.mark.zero_copy, pytest.mark.usefixtures("pins_return", "prompt_frees")]

MODES = {
    "plain": Setup(0),
    "sqpoll": Setup.SQPOLL,
    "single-issuer": Setup.SINGLE_ISSUER,
    "defer-taskrun": Setup.DEFER_TASKRUN | Setup.SINGLE_ISSUER,
    "coop-taskrun": Setup.COOP_TASKRUN | Setup.TASKRUN_FLAG,
    "submit-all": Setup.SUBMIT_ALL,
}


@contract("REG-20", "RECV-23")
@pytest.mark.parametrize("mode", MODES)
def test_ring_of_that_kind(make_station: MakeStation, explicit: None, mode: str) -> None:
    """A ring set up so registers, receives into the region, unregisters, and does so again."""
    station = make_station(ring_flags=MODES[mode], pages=64)
    for _ in range(2):
        receives(station)
        assert parting(station, IfqReq()) == ""
        station.gone()
        accepted(station)


@contract("REG-19")
@pytest.mark.parametrize("mode", MODES)
def test_end_of_such_a_ring(make_station: MakeStation, mode: str) -> None:
    """Closed with a request waiting, it lets go of its queue, and the next one works."""
    station = make_station(ring_flags=MODES[mode], pages=64)
    flow = station.flow()
    flow.transfer(5000)
    station.ring.push(flow.receiver.sqe(1000))
    station.ring.submit()
    station.close_ring()
    station.gone()
    receives(make_station(pages=64))


# -- set up disabled -----------------------------------------------------------------------


@contract("REG-15")
def test_disabled_ring_registers(make_station: MakeStation) -> None:
    """Before it is enabled a ring takes REGISTER_IFQ as it takes any registration."""
    station = make_station(ring_flags=Setup.R_DISABLED, pages=64)
    active(station)
    station.ring.enable()
    receives(station)


@contract("REG-15", "REG-20")
def test_disabled_ring_unregisters(make_station: MakeStation, explicit: None) -> None:
    """It can give the ifq up again before it has ever been enabled."""
    station = make_station(ring_flags=Setup.R_DISABLED, pages=64)
    assert parting(station, IfqReq()) == ""
    station.gone()
    station.ring.enable()
    accepted(station)
    receives(station)


# -- whose ring it is ----------------------------------------------------------------------


def in_a_thread(call: Callable[[], str]) -> str:
    """What it returns when another thread makes the call."""
    said: list[str] = []
    thread = threading.Thread(target=lambda: said.append(call()))
    thread.start()
    thread.join()
    return said[0]


def ordinary(station: Station) -> str:
    """What the ring says to a registration that has nothing to do with zctap."""
    try:
        station.ring.update_buffer(9, 0, 0)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return ""


@contract("REG-15")
@pytest.mark.parametrize("mode", ["plain", "single-issuer", "defer-taskrun"])
def test_another_thread(make_station: MakeStation, explicit: None, mode: str) -> None:
    """A ring says the same to both zctap opcodes as to any other from another thread."""
    station = make_station(ring_flags=MODES[mode], pages=64, register=False)
    station.ring.run(op.nop())  # a ring of one issuer is now this thread's
    expected = in_a_thread(lambda: ordinary(station))
    assert in_a_thread(lambda: answer(station, valid(station))) == expected
    if expected:
        accepted(station)
    assert in_a_thread(lambda: parting(station, IfqReq())) == expected
    if expected:
        active(station)
        receives(station)


# -- restrictions --------------------------------------------------------------------------


def restricted(make_station: MakeStation, *opcodes: int) -> Station:
    """A station whose ring, enabled by now, allows these register opcodes, and any request."""
    station = make_station(ring_flags=Setup.R_DISABLED, pages=64, register=False)
    entries = [RestrictionEntry(Restriction.REGISTER_OP, opcode) for opcode in opcodes]
    entries += [
        RestrictionEntry(Restriction.SQE_OP, opcode) for opcode in (Op.NOP, station.zctap.recv_zc)
    ]
    table = (RestrictionEntry * len(entries))(*entries)
    station.ring.register(Register.RESTRICTIONS, table, len(entries))
    station.ring.enable()
    return station


@contract("REG-15", "REG-18")
def test_restricted_ring(make_station: MakeStation, explicit: None) -> None:
    """A ring whose restrictions name neither opcode says EACCES to both, whatever the argument."""
    station = restricted(make_station, Register.ENABLE_RINGS)
    assert answer(station, valid(station)) == "EACCES"
    assert answer(station, None) == "EACCES"
    assert parting(station, IfqReq()) == "EACCES"
    assert ordinary(station) == "EACCES"
    accepted(make_station(pages=64, register=False))  # the queue is free


@contract("REG-15", "REG-19")
def test_restricted_to_registering(make_station: MakeStation, zctap: Zctap, explicit: None) -> None:
    """Allowed to register and no more: the ifq works, stays, and ends with the ring."""
    station = restricted(make_station, zctap.register_ifq)
    accepted(station)
    assert parting(station, IfqReq()) == "EACCES"
    active(station)
    receives(station)
    station.close_ring()
    station.gone()


@contract("REG-15", "REG-20")
def test_restricted_to_both(make_station: MakeStation, zctap: Zctap, explicit: None) -> None:
    """Allowed both, it registers and unregisters as any ring."""
    assert zctap.unregister_ifq is not None
    station = restricted(make_station, zctap.register_ifq, zctap.unregister_ifq)
    for _ in range(2):
        accepted(station)
        receives(station)
        assert parting(station, IfqReq()) == ""
        station.gone()
