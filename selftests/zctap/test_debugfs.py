# SPDX-License-Identifier: GPL-2.0
"""What debugfs shows, and to whom."""

import os
import stat

import pytest

from fixtures.stations import MakeStation, Station
from lib.zctap import Debugfs

contract = pytest.mark.contract


@contract("DBG-1")
def test_version(debugfs: Debugfs) -> None:
    """The format has a number from 1 up."""
    assert debugfs.version() >= 1


@contract("DBG-2")
def test_numbers_count_up(make_station: MakeStation) -> None:
    """A later ifq has a higher number, also after the earlier one has gone."""
    numbers = []
    for _ in range(3):
        station = make_station()
        numbers.append(station.debug().number)
        station.close()
    assert numbers == sorted(set(numbers))


@contract("DBG-2")
def test_only_root_may_look(station: Station) -> None:
    """Nobody but root can read an ifq's files."""
    path = station.debug().path
    closed = not all(os.stat(above).st_mode & stat.S_IXOTH for above in (path, path.parent))
    for name in ("state", "accounting", "refs", "counters"):
        mode = os.stat(path / name).st_mode
        others = mode & (stat.S_IRWXG | stat.S_IRWXO)
        assert closed or not others, f"{name}: {stat.filemode(mode)}"


@contract("DBG-3", "DBG-4")
def test_accounting_and_refs_agree(station: Station) -> None:
    """The references of single pages add up to the accounting, with data in the socket."""
    flow = station.flow()
    flow.tcp.send(10_000)
    flow.tcp.wait_queued(10_000)
    flow.tcp.read(1)
    accounting, refs = station.debug().accounting(), station.debug().refs()
    assert len({line.page for line in refs}) == len(refs)
    assert all(0 <= line.page < station.region.pages for line in refs)
    assert all(line.driver or line.skb or line.user for line in refs)
    driver = [line for line in refs if line.driver]
    skb = [line for line in refs if line.skb and not line.driver]
    assert (len(driver), len(skb)) == (accounting.driver, accounting.skb)
    assert accounting.free == station.region.pages - len(refs)
    flow.tcp.read(9999)


@contract("DBG-5")
def test_counters_begin_at_nothing(station: Station) -> None:
    """A new ifq has received, copied and refused nothing, whatever the last one did."""
    counters = station.debug().counters()
    assert (counters.zc_iovs, counters.zc_bytes) == (0, 0)
    assert (counters.copy_iovs, counters.copy_bytes) == (0, 0)
    assert (counters.from_fill, counters.fill_invalid, counters.fill_not_owned) == (0, 0, 0)
    assert (counters.alloc_fail, counters.recv_enobufs) == (0, 0)


@contract("DBG-6")
def test_directory_goes_with_the_region(station: Station) -> None:
    """After the release there is no directory any more."""
    entry = station.debug()
    station.close()
    assert not entry.path.exists()
