# SPDX-License-Identifier: GPL-2.0
"""The device changes under a bound queue: what it must take, and what it must refuse."""

import errno
import random
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from fixtures.links import QUEUE
from fixtures.registration import accepted, active, receives, refused, valid
from fixtures.stations import MakeStation, Station
from lib.zctap import wait_gone
from netns import End, Link, ethtool, xdp

contract = pytest.mark.contract
Attached = Callable[[End, int], AbstractContextManager[None]]
MOSTLY = 0.98  # the stack may copy now and then (RECV-21)


def unregister(station: Station) -> None:
    """Unregister the ifq, and see it go."""
    entry = station.debug()
    assert station.ifq is not None
    station.ifq.close()
    wait_gone(entry, station.flush, 0.2)


def nearly_all(station: Station, what: str, length: int = 40_000) -> None:
    """A new connection comes by way of the region, byte for byte."""
    flow = station.flow()
    flow.transfer(length)
    assert flow.tally.zero_copy >= MOSTLY * length, f"{what}: {flow.tally}"


# -- down and up -----------------------------------------------------------------------------


@contract("REL-3")
@pytest.mark.parametrize("end", ["rx", "tx"])
def test_down_and_up(own_link: Link, make_station: MakeStation, end: str) -> None:
    """An end taken down and up: still bound, old data is read, new data is zero-copy."""
    station = make_station(own_link)
    flow = station.flow()
    flow.tcp.send(20_000)
    flow.tcp.wait_queued(20_000)
    which: End = getattr(own_link, end)
    which.set(state="down")
    active(station)
    which.set(state="up")
    active(station)
    flow.drain(20_000)
    assert flow.tally.zero_copy
    before = flow.tally.zero_copy
    flow.transfer(20_000)
    assert flow.tally.zero_copy > before, f"all of it copied since: {flow.tally}"


@contract("REL-3", "REL-6", "REG-20")
def test_unregistered_while_down(own_link: Link, make_station: MakeStation, explicit: None) -> None:
    """A device that is down lets its ifq go, and is an ordinary one when it comes up again."""
    station = make_station(own_link)
    flow = station.flow()
    flow.transfer(10_000)
    own_link.rx.set(state="down")
    unregister(station)
    own_link.rx.set(state="up")
    before = flow.tally.zero_copy
    flow.transfer(10_000)
    assert flow.tally.zero_copy == before, f"zero-copy without an ifq: {flow.tally}"


@contract("REL-3")
def test_request_armed_over_down_and_up(own_link: Link, make_station: MakeStation) -> None:
    """A request armed before the device goes down gets what arrives when it is up again."""
    station = make_station(own_link)
    flow = station.flow()
    armed = station.ring.push(flow.receiver.sqe(1 << 20))
    station.ring.submit()
    own_link.rx.set(state="down")
    own_link.rx.set(state="up")
    assert station.ring.reap() == [], "a completion without data"
    flow.tcp.send(1000)
    flow.receiver.give_back(flow.accept(flow.receiver.decode(station.ring.wait_for(armed))))
    assert (flow.tally.zero_copy, flow.tally.copied) == (1000, 0)


@contract("REL-3")
def test_renamed(own_link: Link, make_station: MakeStation) -> None:
    """A new name changes nothing for a bound queue."""
    station = make_station(own_link)
    rx = own_link.rx
    rx.set(state="down")  # older kernels insist on it
    rx.set(ifname=f"{rx.ifname[:-1]}z")
    rx.set(state="up")
    active(station)
    receives(station)


# -- channels --------------------------------------------------------------------------------


@contract("REL-3")
def test_channels_below_a_bound_queue(
    wide_link: Link, make_station: MakeStation, explicit: None
) -> None:
    """Giving up a bound queue is refused, and works once it is not bound any more."""
    station = make_station(wide_link)
    rx, before = wide_link.rx, ethtool.channels(wide_link.rx)
    with pytest.raises(OSError):
        ethtool.set_channels(rx, QUEUE, 4)
    assert ethtool.channels(rx) == before
    active(station)
    nearly_all(station, "after a refused change")
    unregister(station)
    ethtool.set_channels(rx, QUEUE, 4)
    assert ethtool.channels(rx) == (QUEUE, 4)


@contract("REL-3")
def test_channels_above_a_bound_queue(wide_link: Link, make_station: MakeStation) -> None:
    """Queues above the bound one can be given up and taken back; it works on all the while."""
    station = make_station(wide_link)
    for count in (3, QUEUE + 1, 4):
        ethtool.set_channels(wide_link.rx, count, 4)
        assert ethtool.channels(wide_link.rx) == (count, 4)
        active(station)
        nearly_all(station, f"with {count} queues")


@contract("REG-13", "REG-18")
def test_queue_that_comes_with_more_channels(wide_link: Link, make_station: MakeStation) -> None:
    """A queue that is not in use cannot be bound, and can be once it is."""
    ethtool.set_channels(wide_link.rx, QUEUE, 4)
    station = make_station(wide_link, register=False)
    refused(station, errno.EINVAL, valid(station))
    ethtool.set_channels(wide_link.rx, 4, 4)
    accepted(station)
    nearly_all(station, "on a queue that was not in use before")


# -- XDP -------------------------------------------------------------------------------------


@contract("REL-3")
@pytest.mark.parametrize("mode", [xdp.DRIVER, xdp.GENERIC], ids=["driver", "generic"])
@pytest.mark.parametrize("attached", [xdp.attached, xdp.linked], ids=["netlink", "bpf-link"])
def test_xdp_program(
    own_link: Link, make_station: MakeStation, explicit: None, attached: Attached, mode: int
) -> None:
    """No XDP program while a queue is bound; one when it no longer is, even beside a drain."""
    station = make_station(own_link)
    flow = station.flow()
    flow.tcp.send(20_000)
    flow.tcp.wait_queued(20_000)
    with pytest.raises((NetlinkError, OSError)), attached(own_link.rx, mode):
        pass
    active(station)
    nearly_all(station, "after a refused program")
    entry = station.debug()
    assert station.ifq is not None
    station.ifq.close()
    with attached(own_link.rx, mode):
        assert entry.accounting().skb
        flow.tcp.read(20_000)
        wait_gone(entry, station.flush, 0.2)
        flow.tcp.send(5000)
        flow.tcp.read(5000)


@contract("DEV-2", "REG-20")
@pytest.mark.parametrize("gro", [True, False], ids=["gro", "no-gro"])
def test_xdp_programs_between_bindings(
    own_link: Link, make_station: MakeStation, explicit: None, gro: bool
) -> None:
    """Programs come and go before a binding and after it: frames get through, and a queue is
    bound again, whatever polls the device by then.
    """
    ethtool.set_offload(own_link.rx, "gro", gro)
    station = make_station(own_link, register=False)
    flow = station.flow()
    for turn in range(3):
        with xdp.attached(own_link.rx, xdp.DRIVER):
            flow.tcp.send(20_000)
            flow.tcp.read(20_000)
        station.register()
        nearly_all(station, f"binding {turn}, after a program")
        unregister(station)
        flow.tcp.send(20_000)
        flow.tcp.read(20_000)


@contract("REG-14", "REG-18")
def test_bound_with_a_generic_program(own_link: Link, make_station: MakeStation) -> None:
    """A device with a program before the stack cannot be bound until it is detached."""
    station = make_station(own_link, register=False)
    with xdp.attached(own_link.rx, xdp.GENERIC):
        refused(station, errno.EBUSY, valid(station))
    accepted(station)
    receives(station)


@contract("DEV-1")
def test_xdp_program_of_the_peer(own_link: Link, make_station: MakeStation) -> None:
    """A program on the sending end, come and gone, is no concern of the bound queue's."""
    station = make_station(own_link)
    with xdp.attached(own_link.tx):
        active(station)
        nearly_all(station, "with a program on the sender")
    nearly_all(station, "with the program gone")


# -- offloads and sizes ----------------------------------------------------------------------


@contract("DEV-1")
@pytest.mark.parametrize(
    ("end", "name"), [("rx", "gro"), ("tx", "tso"), ("tx", "sg"), ("tx", "tx-checksum")]
)
def test_offload(own_link: Link, make_station: MakeStation, end: str, name: str) -> None:
    """An offload may be switched, before the registration and after: all stays zero-copy."""
    which: End = getattr(own_link, end)
    ethtool.set_offload(which, name, False)
    station = make_station(own_link)
    nearly_all(station, f"{name} of {end} off before")
    for on in (True, False):
        ethtool.set_offload(which, name, on)
        nearly_all(station, f"{name} of {end}: {on}")


@contract("DEV-1", "RECV-19")
def test_offloads_in_any_order(
    own_link: Link, make_station: MakeStation, rng: random.Random
) -> None:
    """Offloads of both ends switched at random in mid-stream: no byte is lost or copied."""
    station = make_station(own_link)
    flow, log = station.flow(), []
    for _ in range(12):
        end, name = rng.choice(["rx", "tx"]), rng.choice(["tx-checksum", "sg", "tso", "gso", "gro"])
        on = rng.random() < 0.5
        log.append(f"{end} {name} {on}")
        ethtool.set_offload(getattr(own_link, end), name, on)
        flow.transfer(20_000)
    assert flow.tally.zero_copy >= MOSTLY * flow.tally.total, f"{log}: {flow.tally}"


@contract("DEV-1", "REL-3")
def test_mtu(own_link: Link, make_station: MakeStation) -> None:
    """The MTU may change, to jumbo frames and to small ones: all stays zero-copy."""
    station = make_station(own_link)
    for mtu in (9000, 1280, 65_535, 1500):
        own_link.rx.set(mtu=mtu)
        own_link.tx.set(mtu=mtu)
        active(station)
        nearly_all(station, f"MTU {mtu}")
