# SPDX-License-Identifier: GPL-2.0
"""A bond above a device, and its XDP program, which goes to the ports past the core."""

from collections.abc import Iterator

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from fixtures.registration import accepted, active, answer, parting, receives, valid
from fixtures.stations import MakeStation
from lib.zctap import IfqReq
from netns import End, Link, Unsupported, bond, xdp

contract = pytest.mark.contract

LENGTH = 100_000  # bytes


@pytest.fixture
def upper(own_link: Link) -> Iterator[End]:
    """A bond with the own link's receiving device as its port. Name it before make_station."""
    try:
        with bond.bonded(own_link.rx) as made:
            yield made
    except Unsupported as error:
        pytest.skip(str(error))


@pytest.fixture
def empty_bond(own_link: Link) -> Iterator[End]:
    """A bond without a port, beside the own link's receiving device."""
    try:
        with bond.bond(own_link.rx) as made:
            yield made
    except Unsupported as error:
        pytest.skip(str(error))


def port_of(end: End, master: int) -> None:
    """Make the device a port of that bond, or nobody's (0). It is down afterwards."""
    end.set(state="down")
    end.set(master=master)


@contract("REL-3", "REG-14", "REG-18")
def test_program_of_a_bond(
    own_link: Link, upper: End, make_station: MakeStation, explicit: None
) -> None:
    """A bond brings no program to a port while a queue is bound, and none is bound beside one.

    Out of the bond, the device is bound and receives as ever.
    """
    station = make_station(own_link)
    with pytest.raises(NetlinkError), xdp.attached(upper):
        pass
    active(station)
    assert parting(station, IfqReq()) == ""
    station.gone()
    with xdp.attached(upper):
        said = answer(station, valid(station))
        assert said == "EBUSY", f"the port has its bond's program: {said!r}, expected EBUSY"
    accepted(station)
    port_of(own_link.rx, 0)
    own_link.rx.set(state="up")
    active(station)
    receives(station)


@contract("REL-3")
def test_bond_that_has_a_program(
    own_link: Link, empty_bond: End, make_station: MakeStation
) -> None:
    """A bond that has a program already does not take a device as a port while a queue is bound."""
    rx, station = own_link.rx, make_station(own_link, register=False)
    empty_bond.set(state="up")
    with xdp.attached(empty_bond):
        for master in (empty_bond.ifindex, 0):  # while nothing is bound it may be one
            port_of(rx, master)
        rx.set(state="up")
        accepted(station)
        with pytest.raises(NetlinkError):
            port_of(rx, empty_bond.ifindex)
        rx.set(state="up")
        active(station)
        receives(station)


@contract("REL-3", "RECV-21")
def test_generic_program_of_a_bond(own_link: Link, upper: End, make_station: MakeStation) -> None:
    """A generic program of a bond is the bond's own: it is let in, and its frames are copied.

    It sees them in one piece. No page of the region stays with them, and without it all is as
    before.
    """
    # An answer to the port's own question would come to the bond.
    own_link.rx.neighbour(own_link.tx.address(4), own_link.tx.mac())
    station = make_station(own_link, copies=32)
    flow = station.flow()
    with xdp.attached(upper, xdp.GENERIC):
        flow.transfer(LENGTH)
        seen = flow.tally
        assert (seen.zero_copy, seen.copied) == (0, LENGTH), f"linearised frames: {seen}"
        station.at_rest()
    flow.transfer(LENGTH)
    assert flow.tally.zero_copy > LENGTH // 2, f"after the program has gone: {flow.tally}"
