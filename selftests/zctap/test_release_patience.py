# SPDX-License-Identifier: GPL-2.0
"""A drain that lasts: the kernel never gives up on it."""

import pytest

from fixtures.links import UNUSED_QUEUE
from fixtures.owners import Claims
from fixtures.parking import PARKED
from fixtures.patience import LongDrain
from lib.deadline import wait_until
from netns import Link

contract = pytest.mark.contract
GIVES_UP = 10.0  # seconds, RFC v3


@contract("REL-2", "REL-1", "REL-5", "REL-7", "REL-9")
def test_longer_than_ten_seconds(long_drain: LongDrain, claim: Claims, link: Link) -> None:
    """Data unread for more than 10 s keeps its region, is intact, and the region is released."""
    station = long_drain.station
    claimed = claim(station.region)
    wait_until(
        lambda: long_drain.seconds > GIVES_UP + 0.5,
        lambda: f"a drain of {long_drain.seconds:.1f} s",
        GIVES_UP + 1,
        interval=0.1,
    )
    assert claimed.errno(link, UNUSED_QUEUE) == "EEXIST"
    if station.entry is not None:
        state, accounting = station.entry.state(), station.entry.accounting()
        assert (state.state, accounting.skb > 0) == ("draining", True), station.entry.dump()
    long_drain.flow.tcp.read(PARKED)
    claimed.granted(link, UNUSED_QUEUE, station.flush)
    station.gone(0.2)
