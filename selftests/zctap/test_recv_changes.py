# SPDX-License-Identifier: GPL-2.0
"""What a request finds changed when it is woken: the ifq, its groups, its memory."""

import errno
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace

import pytest

from fixtures.links import QUEUE, UNUSED_QUEUE
from fixtures.stations import COPY, META, Flow, MakeStation, Station
from lib.uring import Cqe, RecvSend, Sqe
from lib.zctap import CopyRing, addr3
from lib.zctap.metadata import MetadataRing
from lib.zerocopy import Region
from netns.fronts import in_sockmap, tls

contract = pytest.mark.contract


def single(flow: Flow) -> Sqe:
    """A request for one completion."""
    return flow.receiver.sqe_select(5000, META)


def multishot(flow: Flow) -> Sqe:
    """A multishot request."""
    return replace(flow.receiver.sqe_select(5000, META), ioprio=RecvSend.MULTISHOT)


both = pytest.mark.parametrize("make_sqe", [single, multishot], ids=["single", "multishot"])
Make = Callable[[Flow], Sqe]


class Armed:
    """A request that waits, single or multishot, armed again as often as it takes."""

    def __init__(self, station: Station, flow: Flow, make_sqe: Make) -> None:
        self.station, self.flow, self.make_sqe = station, flow, make_sqe
        self.pool = MetadataRing(station.ring, META, 16, 256)
        self.request = 0
        self.arm()

    def arm(self) -> None:
        """Submit it; there must be nothing to read."""
        self.request = self.station.ring.push(self.make_sqe(self.flow))
        self.station.ring.submit()
        assert self.station.ring.reap() == []

    def completion(self) -> Cqe:
        """The next one, an error."""
        cqe = self.station.ring.wait_for(self.request)
        self.pool.used(cqe)
        return cqe

    def receive(self, length: int) -> None:
        """Send that much, and take it."""
        self.flow.tcp.send(length)
        while length:
            cqe = self.station.ring.wait_for(self.request)
            received = self.flow.receiver.decode(cqe, self.pool.used(cqe))
            assert received.length, cqe
            self.flow.receiver.give_back(self.flow.accept(received))
            length -= received.length
            if not cqe.more:
                self.request = self.station.ring.push(self.make_sqe(self.flow))
                self.station.ring.submit()


def unregister(station: Station) -> None:
    """Close the ifq under the request; skips where that cannot be had."""
    if station.zctap.unregister_ifq is None:
        pytest.skip("this kernel unregisters an ifq only with its ring")
    assert station.ifq is not None
    station.ifq.close()


@pytest.mark.zero_copy
@contract("RECV-21", "REG-20")
@both
def test_ifq_that_is_closed_and_replaced(station: Station, make_sqe: Make) -> None:
    """A request outlives its ifq: what comes then is copied, and with the next ifq is not."""
    flow = station.flow()
    armed = Armed(station, flow, make_sqe)
    armed.receive(1000)
    unregister(station)
    zero_copy = flow.tally.zero_copy
    armed.receive(1000)
    assert flow.tally.zero_copy == zero_copy
    with Region(128) as region:
        region.register(station.ring, 3)
        station.register(region)
        flow.receiver.region = region
        armed.receive(1000)
        assert flow.tally.zero_copy > zero_copy
        station.close(check=False)
        station.gone()


@pytest.mark.zero_copy
@contract("RECV-7", "RECV-21")
@both
def test_ifq_that_comes_later(make_bare_station: MakeStation, make_sqe: Make) -> None:
    """A request from before the registration reports what then arrives in the region."""
    station = make_bare_station()
    flow = station.flow()
    armed = Armed(station, flow, make_sqe)
    armed.receive(1000)
    assert flow.tally.copied == 1000
    station.register()
    armed.receive(1000)
    assert flow.tally.zero_copy


@contract("RECV-26")
@both
@pytest.mark.parametrize("queue", [QUEUE, UNUSED_QUEUE], ids=["zero-copy", "copied"])
def test_region_that_takes_the_copy_groups_number(
    make_bare_station: MakeStation, queue: int, make_sqe: Make
) -> None:
    """When the region gets the number of a waiting request's copy group, that is EINVAL, too."""
    station = make_bare_station(queue=queue)
    flow = station.flow()
    pool = CopyRing(station.ring, 5, 4)
    armed = Armed(station, flow, lambda flow: replace(make_sqe(flow), addr3=addr3(5000, 5)))
    station.region.register(station.ring, pool.bgid)
    station.register()
    flow.tcp.send(1000)
    flow.tcp.wait_queued(1000)
    assert armed.completion().error == errno.EINVAL
    flow.drain(1000)


@contract("RECV-11", "RECV-30")
@both
def test_copy_group_that_goes(bystander: Station, make_sqe: Make) -> None:
    """Without its copy group a request ends with ENOBUFS when data comes, which stays."""
    flow = bystander.flow()
    armed = Armed(bystander, flow, make_sqe)
    armed.receive(1000)
    bystander.copy.unregister()
    flow.tcp.send(1000)
    assert armed.completion().error == errno.ENOBUFS
    flow.tcp.wait_queued(1000)
    flow.receiver.copy = CopyRing(bystander.ring, COPY, 4)
    flow.drain(1000)


@contract("RECV-24", "RECV-8", "RECV-30")
def test_metadata_group_that_goes(station: Station) -> None:
    """Without its metadata group a multishot request ends with ENOBUFS; the data stays."""
    flow = station.flow()
    armed = Armed(station, flow, multishot)
    armed.receive(1000)
    armed.pool.unregister()
    flow.tcp.send(1000)
    cqe = armed.completion()
    assert (cqe.error, cqe.more, cqe.buffer_id) == (errno.ENOBUFS, False, None)
    flow.tcp.wait_queued(1000)
    flow.drain(1000)


@contract("RECV-9", "RECV-29")
def test_metadata_that_goes(station: Station) -> None:
    """Metadata that has become unwritable while the request waited is EFAULT; the data stays."""
    flow = station.flow()
    request = station.ring.push(flow.receiver.sqe(1000))
    station.ring.submit()
    with flow.receiver.metadata.protected():
        flow.tcp.send(1000)
        assert station.ring.wait_for(request).error == errno.EFAULT
    flow.tcp.wait_queued(1000)
    flow.drain(1000)


Front = Callable[[Flow], AbstractContextManager[object]]


def tls_in_front(flow: Flow) -> AbstractContextManager[object]:
    """TLS done by the kernel, for good."""
    try:
        tls(flow.tcp.rx, receive=True)
    except OSError as error:
        pytest.skip(f"no CONFIG_TLS: {error}")
    return nullcontext()


@contextmanager
def sockmap_in_front(flow: Flow) -> Iterator[None]:
    """A sockmap, for a while."""
    with ExitStack() as stack:
        try:
            stack.enter_context(in_sockmap(flow.tcp.rx))
        except OSError as error:
            pytest.skip(f"no sockmap: {error}")
        yield


@contract("RECV-2", "RECV-29")
@both
@pytest.mark.parametrize("front", [tls_in_front, sockmap_in_front], ids=["tls", "sockmap"])
def test_socket_that_gets_something_in_front(
    either_station: Station, front: Front, make_sqe: Make
) -> None:
    """A request on a socket that is not plain TCP any more is EPROTONOSUPPORT; the data stays."""
    flow = either_station.flow()
    armed = Armed(either_station, flow, make_sqe)
    with front(flow):
        flow.tcp.send(1000)
        flow.tcp.wait_queued(1000)
        cqe = armed.completion()
        seen = (cqe.error, cqe.more)
        assert seen == (errno.EPROTONOSUPPORT, False), f"{cqe}: expected EPROTONOSUPPORT"
        left = flow.tcp.queued()
        assert left == 1000, f"{left} bytes left of 1000 (RECV-29)"
    if front is sockmap_in_front:
        flow.drain(1000)
