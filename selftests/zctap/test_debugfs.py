# SPDX-License-Identifier: GPL-2.0
"""What debugfs shows, and to whom."""

import contextlib
import os
import re
import stat

import pytest

from fixtures.exhausted import Exhausted
from fixtures.links import QUEUE
from fixtures.stations import FILL, MakeStation, Station
from lib.zctap import Debugfs, Ifq, wait_gone
from lib.zctap.rest import summed
from lib.zerocopy import Region

contract = pytest.mark.contract
pytestmark = pytest.mark.zero_copy

FILES = {
    "state": "ifindex ifname queue_id fill_bgid region_id pages state ifq_refs release_polls",
    "accounting": "free driver skb user pages",
    "counters": "from_freelist from_fill alloc_fail fill_invalid fill_not_owned recycled"
    " zc_iovs zc_bytes copy_iovs copy_bytes recv_enobufs",
}


@contract("DBG-1")
def test_version(debugfs: Debugfs) -> None:
    """The format has a number from 1 up."""
    assert debugfs.version() >= 1


@contract("DBG-2", "DBG-3", "DBG-5")
def test_format(station: Station) -> None:
    """A file is lines of `key: value`, each key once, none of the contract's missing."""
    for name, expected in FILES.items():
        lines = (station.debug().path / name).read_text().splitlines()
        keys = [line.split(": ")[0] for line in lines]
        assert all(re.fullmatch(r"\w+: \S+", line) for line in lines), lines
        assert len(set(keys)) == len(keys), lines
        assert set(expected.split()) <= set(keys), name


@contract("DBG-2")
def test_state_says_what_is_bound(make_station: MakeStation) -> None:
    """Device, queue, groups and region are those of the registration."""
    station = make_station(register=False)
    rx = station.link.rx
    with Region(24) as region:
        region.register(station.ring, 5)
        with rx.ns.entered():
            ifq = Ifq(
                station.ring,
                station.zctap,
                region,
                ifindex=rx.ifindex,
                queue_id=QUEUE,
                fill_bgid=FILL + 3,
            )
        assert ifq.entry is not None
        state = ifq.entry.state()
        assert (state.ifindex, state.ifname, state.queue_id) == (rx.ifindex, rx.ifname, QUEUE)
        assert (state.fill_bgid, state.region_id, state.pages) == (FILL + 3, 5, 24)
        assert (state.state, state.release_polls) == ("active", 0)
        station.close_ring()
        wait_gone(ifq.entry, station.flush)


@contract("DBG-2")
def test_numbers_count_up(make_station: MakeStation) -> None:
    """A later ifq has a higher number, also after the earlier one has gone."""
    numbers = []
    for _ in range(3):
        station = make_station()
        numbers.append(station.debug().number)
        station.close()
    assert numbers == sorted(set(numbers))


@contract("DBG-1", "DBG-2", "DBG-3", "DBG-4", "DBG-5")
def test_only_root_may_look(station: Station) -> None:
    """Root can read the version and an ifq's files, nobody else can, and nobody can write them."""
    path = station.debug().path
    closed = not all(os.stat(above).st_mode & stat.S_IXOTH for above in (path, path.parent))
    for name in ("../version", "state", "accounting", "refs", "counters"):
        mode = os.stat(path / name).st_mode
        others = mode & (stat.S_IRWXG | stat.S_IRWXO)
        assert closed or not others, f"{name}: {stat.filemode(mode)}"
        assert stat.S_IMODE(mode) & 0o733 == stat.S_IRUSR, f"{name}: {stat.filemode(mode)}"


@contract("DBG-3", "DBG-4", "BUF-4")
def test_accounting_and_refs_agree(station: Station) -> None:
    """Single references add up to the accounting: posted, in a socket, both, with the user."""
    flow, entry = station.flow(), station.debug()
    flow.tcp.send(10_000)
    flow.tcp.wait_queued(10_000)
    held = flow.take(3000)  # to the middle of a page, or of a piece of it
    accounting, refs = entry.accounting(), entry.refs()
    assert len({line.page for line in refs}) == len(refs)
    assert all(0 <= line.page < station.region.pages for line in refs)
    assert all(line.driver or line.skb or line.user for line in refs)
    assert accounting == summed(refs, station.region.pages)
    assert accounting.skb > 0
    assert any(line.skb and line.user for line in refs)
    flow.drain(7000)
    flow.receiver.give_back(held)


@contract("DBG-4")
def test_refs_of_every_page(exhausted: Exhausted) -> None:
    """A line for each page, the first and the last too, with the one reference it has."""
    lines = [(line.page, line.user) for line in sorted(exhausted.entry.refs())]
    assert lines == [(page, 1) for page in range(exhausted.station.region.pages)]


@contract("DBG-4", "BUF-2")
def test_refs_of_many_pages(make_station: MakeStation) -> None:
    """With more lines than one read gives, each page that is held has its one line."""
    # Enough pages for frames of one segment each, which a slow machine may send.
    station = make_station(pages=2048)
    flow, total = station.flow(rcvbuf=2 << 20), 2 << 20
    held, left = [], total - flow.tcp.feed(total)
    while flow.tally.total < total:
        held += flow.accept(flow.receiver.receive())
        left -= flow.tcp.feed(left)
    station.at_rest()
    assert len((station.debug().path / "refs").read_text()) > os.sysconf("SC_PAGESIZE")
    users = {line.page: line.user for line in station.debug().refs() if line.user}
    assert users == dict(+station.region.held)
    flow.receiver.give_back(held)


@contract("DBG-3", "DBG-4", "DBG-5")
def test_reading_a_few_bytes_at_a_time(station: Station) -> None:
    """A file that is read in small pieces says the same as in one go."""
    flow = station.flow()
    flow.tcp.send(1000)
    held = flow.take(1000)
    station.at_rest()
    for name in ("accounting", "refs", "counters"):
        path = station.debug().path / name
        whole, pieces = path.read_bytes(), b""
        with path.open("rb", buffering=0) as file:
            while piece := file.read(7):
                pieces += piece
        assert pieces == whole
    flow.receiver.give_back(held)


@contract("DBG-5")
def test_counters_begin_at_nothing(make_station: MakeStation) -> None:
    """A new ifq has received, copied and refused nothing, whatever the last one did."""
    first = make_station()
    first.flow().transfer(20_000)
    assert first.debug().counters().zc_iovs
    first.close()
    counters = make_station().debug().counters()
    assert (counters.zc_iovs, counters.zc_bytes) == (0, 0)
    assert (counters.copy_iovs, counters.copy_bytes) == (0, 0)
    assert (counters.from_fill, counters.fill_invalid, counters.fill_not_owned) == (0, 0, 0)
    assert counters.recv_enobufs == 0


@contract("DBG-6", "REL-1")
def test_open_files_do_not_keep_the_region(station: Station) -> None:
    """Someone who has the files open holds up nothing, and reads an error or nothing after."""
    entry = station.debug()
    with contextlib.ExitStack() as stack:
        files = []
        for name in ("state", "accounting", "refs", "counters"):
            files.append(stack.enter_context((entry.path / name).open("rb", buffering=0)))
            assert files[-1].read(5)
        station.close()
        assert not entry.path.exists()
        for file in files:
            with contextlib.suppress(OSError):
                file.seek(0)
                assert not file.read(1 << 16), file.name


@contract("DBG-6")
def test_directory_goes_with_the_region(station: Station) -> None:
    """After the release there is no directory any more."""
    entry = station.debug()
    station.close()
    assert not entry.path.exists()
