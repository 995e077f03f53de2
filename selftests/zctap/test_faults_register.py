# SPDX-License-Identifier: GPL-2.0
"""Registering and unregistering while memory fails: at each place where it can, in turn.

What a call allocates differs a little from one to the next, so none of this counts on numbers; but
each test sees to it that enough has failed for it to mean something.
"""

import errno
from contextlib import suppress

import pytest

from fixtures.faults import Log
from fixtures.registration import Traces, mapped_at_most, valid
from fixtures.stations import MakeStation, Station
from lib import dma
from lib.deadline import wait_until
from lib.faults import MEMORY, USERCOPY, Faults
from lib.zctap import Debugfs, IfqReq, register_ifq, unregister_ifq
from netns import Link

contract = pytest.mark.contract
pytestmark = [pytest.mark.zero_copy, pytest.mark.usefixtures("explicit", "pins_return")]

PAGES = 8
lasting = pytest.mark.parametrize("lasting", ["", MEMORY], ids=["once", "lasting"])


class Registrar:
    """Registers and unregisters a station's ifq, with nothing in between that could fail."""

    def __init__(self, station: Station) -> None:
        self.station, self.request, self.none = station, valid(station), IfqReq()
        self.before = Traces.now()

    def bind(self) -> None:
        """REGISTER_IFQ; the device's namespace has been entered."""
        register_ifq(self.station.ring, self.station.zctap, self.request)

    def unbind(self) -> None:
        """UNREGISTER_IFQ."""
        unregister_ifq(self.station.ring, self.station.zctap, self.none)

    def released(self) -> None:
        """Unregister, and see everything go."""
        self.unbind()
        wait_until(
            lambda: Traces.now().none_since(self.before),
            lambda: f"left: {Traces.now()}, before {self.before}\n{Debugfs().dump()}",
            1,
        )


def whole(before: Traces) -> None:
    """The ifq that has been registered shows all of its pages, as far as it shows anything."""
    entry = Debugfs().newest()
    if entry is None or entry.number in before.ifqs:  # its directory could not be made
        return
    with suppress(FileNotFoundError):  # its files may be what could not be made
        accounting = entry.accounting()
        assert accounting.conserved, f"pages are not conserved (BUF-4): {accounting}"
        assert accounting.free + accounting.driver == PAGES, accounting
        assert accounting.driver, f"registered, and the device has no buffer: {accounting}"
    with suppress(FileNotFoundError):
        assert entry.state().state == "active", entry.dump()


@contract("REG-16", "REG-18", "REG-2")
@lasting
def test_registration(
    faults: Faults, own_link: Link, make_station: MakeStation, lasting: str
) -> None:
    """Whatever fails, it is ENOMEM (EFAULT for the argument) and undone, or it works all the same.

    The same call succeeds right behind, and in the end the device can be deleted.
    """
    station = make_station(own_link, pages=PAGES, register=False)
    registrar, log, mapped = Registrar(station), Log(), dma.mapped() or 0
    with own_link.rx.ns.entered():
        for shot in faults.shots(lasting, 4):
            shot.run(registrar.bind)
            log.note(shot, shot.error)
            if shot.error:
                left = Traces.now()
                assert left.none_since(registrar.before), f"{shot}: {left}, {registrar.before}"
                mapped_at_most(mapped, str(shot))
                registrar.bind()
            whole(registrar.before)
            registrar.released()
    assert log.fired[MEMORY] >= 3, log
    assert log.fired[USERCOPY] >= 1, log
    assert log.said["ENOMEM"] >= 2, log
    assert log.said["EFAULT"] >= 1, log


@contract("REG-20", "REG-2", "REG-18")
def test_unregistration(faults: Faults, make_station: MakeStation) -> None:
    """It needs no memory. It fails only if its argument cannot be read, and changes nothing."""
    station = make_station(pages=PAGES, register=False)
    registrar, log = Registrar(station), Log()
    with station.link.rx.ns.entered():
        for shot in faults.shots(MEMORY, 4):
            registrar.bind()
            shot.run(registrar.unbind)
            log.note(shot, shot.error)
            if shot.error:
                assert shot.error == errno.EFAULT, f"{shot}: it may not fail for memory"
                whole(registrar.before)
                registrar.released()
            else:
                wait_until(lambda: Traces.now().none_since(registrar.before), Debugfs().dump, 1)
    assert log.said["EFAULT"] >= 1, log
