# SPDX-License-Identifier: GPL-2.0
"""Memory that fails on the way of a frame, of a completion, and of a device that is deleted."""

import random
import socket
import struct

import pytest

from fixtures.faults import Log
from fixtures.links import QUEUE, new_link
from fixtures.removal import dead
from fixtures.stations import MakeStation, Station
from lib.faults import MEMORY, Faults
from lib.uring import Cqe, op
from lib.zctap.abi import IOV, IOV_SIZE
from netns import Link

contract = pytest.mark.contract
pytestmark = pytest.mark.own_device

SIZE = 6000  # bytes: several segments, several iovs
CQ = 64
ALL = 100_000  # more than a call allocates


@contract("RECV-19", "BUF-4")
def test_frames(faults: Faults, station: Station, rng: random.Random) -> None:
    """An allocation on a frame's way fails, here or there: the stream arrives all the same."""
    flow, hits = station.flow(), 0
    for _ in range(80):  # the system allocates elsewhere, too, now more and now less
        with faults.atomic_failure(rng.randrange(8192)) as failed:
            flow.transfer(5 * SIZE)
            hits += failed()
        accounting = station.debug().accounting()
        assert accounting.conserved, f"pages are not conserved: {accounting}"
        if hits == 4:
            break
    assert hits == 4, f"only {hits} of 80 faults came about"
    assert flow.tally.zero_copy, f"nothing arrived in the region: {flow.tally}"


@contract("RECV-24", "RECV-29")
def test_completion_without_room(faults: Faults, make_station: MakeStation) -> None:
    """The CQ is full, and memory fails: at most the completion is lost, and it is counted.

    What it reported lies in the metadata buffer: no reference beyond that has been taken.
    """
    log, lost = Log(), 0
    for shot in faults.shots(MEMORY, 4):
        station = make_station(pages=64, cq_entries=CQ)
        ring, flow = station.ring, station.flow()
        for _ in range(CQ):
            ring.push(op.nop())
        ring.submit()
        assert ring.ready() == CQ
        flow.tcp.send(SIZE)
        flow.tcp.wait_queued(SIZE)
        request = ring.push(flow.receiver.sqe(SIZE))
        shot.run(ring.submit)
        if ring.pending:  # no memory for the request itself
            ring.submit()
        completions = {cqe.user_data: cqe for cqe in ring.reap() + ring.reap()}
        if ring.lost:
            lost += ring.lost
            iovs = IOV.iter_unpack(flow.receiver.metadata.view)
            count = sum(1 for _, length, *_ in iovs if length)
            cqe = Cqe(request, count * IOV_SIZE, 0)
        else:
            cqe = completions.get(request) or ring.wait_for(request)
        log.note(shot, cqe.error)
        received = flow.receiver.decode(cqe)
        flow.receiver.give_back(flow.accept(received))
        flow.drain(SIZE - received.length)
        station.close()
    assert lost, f"no completion was lost, {log}"


# -- a device that goes --------------------------------------------------------------------

_RTM_DELLINK, _REQUEST = 17, 1  # linux/rtnetlink.h, linux/netlink.h


class Deleter:
    """DELLINK in one system call, with nothing in between that could fail."""

    def __init__(self, link: Link) -> None:
        self._socket = link.rx.ns.socket(socket.AF_NETLINK, socket.SOCK_RAW)
        header = struct.pack("=IHHII", 32, _RTM_DELLINK, _REQUEST, 1, 0)
        self._message = header + struct.pack("=BxHiII", 0, 0, link.rx.ifindex, 0, 0)

    def __call__(self) -> None:
        """Delete the receiving device, and with it the other end. Raises OSError."""
        self._socket.send(self._message)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


@contract("REL-3")
def test_deletion(faults: Faults, make_station: MakeStation) -> None:
    """From some point on no memory is to be had: the device goes, and the ifq is dead."""
    deleted = 0
    for shot in faults.chosen((4, 16, 32), MEMORY, ALL):
        with new_link() as link:
            link.steer(QUEUE)
            station = make_station(link, pages=64)
            flow = station.flow()
            flow.transfer(SIZE)
            delete = Deleter(link)
            shot.run(delete)
            assert shot.sites, f"{shot}: deleting a device takes no memory?"
            if link.rx.exists():
                assert station.debug().state().state == "active"
                delete()
            else:
                deleted += 1
            delete.close()
            dead(station)
            station.close()
    assert deleted, "no device was deleted in the face of faults"
