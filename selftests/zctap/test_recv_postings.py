# SPDX-License-Identifier: GPL-2.0
"""What only some of the postings promise: looked for, and skipped where the kernel has it not."""

import pytest

from fixtures.stations import MakeStation
from lib.uring import CqeFlag

contract = pytest.mark.contract


@contract("FILL-6")
def test_entries_taken_are_announced(make_station: MakeStation, prompt_frees: None) -> None:
    """A CQE with F_NOTIF says how many entries of the fill ring have been taken."""
    station = make_station(pages=64)
    flow, left = station.flow(rcvbuf=32 << 10), 1 << 20
    given, notes = 0, []
    while flow.tally.total < 1 << 20:
        left -= flow.tcp.feed(left)
        chunks = flow.accept(flow.receiver.receive())
        given += sum(chunk.zero_copy for chunk in chunks)
        flow.receiver.give_back(chunks)
        while station.ring.ready():
            notes += station.ring.reap()
    if not notes:
        pytest.skip("this kernel does not say so; RFC v3 does")
    assert all(cqe.flags & CqeFlag.NOTIF for cqe in notes), notes
    assert 0 < sum(cqe.res for cqe in notes) <= given
