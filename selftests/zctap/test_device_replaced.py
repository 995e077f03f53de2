# SPDX-License-Identifier: GPL-2.0
"""After the device: a new one in its place, or the old one in another, beside the dead ifq."""

import errno
from contextlib import closing

import pytest

from fixtures.links import QUEUE
from fixtures.registration import receives, refused, valid
from fixtures.removal import dead, deletion, removed
from fixtures.stations import MakeStation
from lib.zctap import wait_gone
from netns import Link, Namespace

contract = pytest.mark.contract


@contract("REL-3", "REL-4")
def test_same_name_and_number(own_link: Link, make_station: MakeStation, explicit: None) -> None:
    """A device with the name and number of one that has gone is not taken for it."""
    first = make_station(own_link)
    removed(own_link, deletion)
    own_link.rebuild()
    own_link.steer(QUEUE)
    second = make_station(own_link)
    receives(second)
    entry = dead(first)
    assert first.ifq is not None
    first.ifq.close()
    wait_gone(entry, first.flush, 0.1)
    assert second.debug().state().state == "active"
    receives(second)


@contract("REL-3", "REG-5")
def test_device_moved_and_bound_there(own_link: Link, make_station: MakeStation) -> None:
    """A device that was moved can be bound in its new namespace at once, and only there."""
    with closing(Namespace("elsewhere")) as elsewhere:
        first = make_station(own_link)
        before = own_link.move_receiver(elsewhere)
        dead(first)
        second = make_station(own_link, register=False)
        refused(second, errno.ENODEV, valid(second, ifindex=before.ifindex), ns=before.ns)
        second.register()
        receives(second)
        first.close()
        receives(second)
        second.close()
