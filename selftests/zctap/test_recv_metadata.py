# SPDX-License-Identifier: GPL-2.0
"""Metadata and copy buffers: where they may lie, what is written, and whose they are after."""

import errno
import mmap
import socket
from collections.abc import Callable
from dataclasses import replace

import pytest

from fixtures.copies import no_copy_lost
from fixtures.links import QUEUE, UNUSED_QUEUE
from fixtures.stations import COPY, LOADED, META, Flow, MakeStation, Station
from lib.uring import PAGE, BufferPool, Cqe, CqeFlag, Memory, Sqe, op
from lib.zctap import CopyRing, addr3
from lib.zctap.abi import IOV_SIZE
from lib.zctap.metadata import MetadataGroup, MetadataRing

contract = pytest.mark.contract

Pool = MetadataRing | MetadataGroup


# -- metadata that the submission names --------------------------------------------------------


@contract("RECV-9", "RECV-29")
@pytest.mark.parametrize("addr", [8, 1 << 46, (1 << 64) - 16])
def test_unwritable_address(either_loaded: Flow, addr: int) -> None:
    """Metadata at an address that is nobody's, or the kernel's, is EFAULT; no byte is lost."""
    either_loaded.refused(replace(either_loaded.receiver.sqe(LOADED), addr=addr), errno.EFAULT)
    either_loaded.drain(LOADED)


@contract("RECV-9", "RECV-29")
@pytest.mark.parametrize("access", [0, mmap.PROT_READ], ids=["none", "read-only"])
def test_unwritable_page(either_loaded: Flow, either_station: Station, access: int) -> None:
    """Metadata in a page that may not be written is EFAULT, again and again; nothing is lost."""
    sqe = either_loaded.receiver.sqe(LOADED)
    with either_loaded.receiver.metadata.protected(access):
        for _ in range(3):
            either_loaded.refused(sqe, errno.EFAULT)
    no_copy_lost(either_station)
    either_loaded.drain(LOADED)


@contract("RECV-9", "RECV-29")
@pytest.mark.parametrize("before", [8, 24, 48])
@pytest.mark.parametrize("queue", [QUEUE, UNUSED_QUEUE], ids=["zero-copy", "copied"])
def test_metadata_that_ends_midway(make_station: MakeStation, queue: int, before: int) -> None:
    """Where only the first iovs can be written, those are reported, or EFAULT and none."""
    # Small copy buffers make many iovs of copied data, too.
    station = make_station(queue=queue, copies=32, copy_size=100)
    flow, total = station.flow(), 3000
    flow.tcp.segments(*[500] * 6)
    flow.tcp.wait_queued(total)
    memory = Memory(2 * PAGE)
    station.ring.on_close(memory.close)
    sqe = replace(flow.receiver.sqe(total), addr=memory.addr + PAGE - before, len=1024)
    with memory.protected(at=PAGE):
        for _ in range(2):
            queued = flow.tcp.queued()
            cqe = station.ring.run(sqe)
            if cqe.res < 0:
                assert (cqe.error, flow.tcp.queued()) == (errno.EFAULT, queued)
                continue
            assert 0 < cqe.res <= before
            iovs = memory.view[PAGE - before : PAGE]
            flow.receiver.give_back(flow.accept(flow.receiver.decode(cqe, iovs)))
    no_copy_lost(station)
    flow.drain(total - flow.tally.total)


@contract("RECV-18")
@pytest.mark.parametrize("shift", [1, 8])
def test_metadata_at_any_address(either_loaded: Flow, shift: int) -> None:
    """Metadata need not be aligned, and nothing is written around it."""
    flow = either_loaded
    view = flow.receiver.metadata.view
    view[:] = b"\xee" * len(view)
    sqe = flow.receiver.sqe(LOADED)
    cqe = flow.receiver.ring.run(replace(sqe, addr=sqe.addr + shift, len=3 * IOV_SIZE + 5))
    assert 0 < cqe.res <= 3 * IOV_SIZE
    flow.receiver.give_back(flow.accept(flow.receiver.decode(cqe, view[shift:])))
    around = bytes(view[:shift]) + bytes(view[shift + cqe.res :])
    assert not around.strip(b"\xee")
    flow.drain(LOADED - flow.tally.total)


# -- metadata of a group -----------------------------------------------------------------------


@contract("RECV-8", "RECV-30")
def test_no_metadata_buffer(loaded: Flow, station: Station) -> None:
    """An empty group, or one that does not exist, is ENOBUFS; with a buffer in it, it is used."""
    loaded.refused(loaded.receiver.sqe_select(LOADED, META), errno.ENOBUFS)
    pool = BufferPool(station.ring, META, 1, 256, fill=False)
    for _ in range(2):
        cqe = station.ring.run(loaded.receiver.sqe_select(LOADED, META))
        assert (cqe.error, cqe.buffer_id) == (errno.ENOBUFS, None)
    assert loaded.tcp.queued() == LOADED
    pool.give(0)
    cqe = station.ring.run(loaded.receiver.sqe_select(LOADED, META))
    assert cqe.buffer_id == 0
    received = loaded.receiver.decode(cqe, pool.buffer(0))
    loaded.receiver.give_back(loaded.accept(received))
    loaded.drain(LOADED - received.length)


def succeeds(flow: Flow, select: Sqe) -> Cqe:
    """Data arrives."""
    flow.tcp.send(100)
    return flow.receiver.ring.run(select)


def finds_nothing(flow: Flow, select: Sqe) -> Cqe:
    """Nothing is there, and it may not wait."""
    return flow.receiver.ring.run(replace(select, op_flags=socket.MSG_DONTWAIT))


def ends(flow: Flow, select: Sqe) -> Cqe:
    """The stream ends while it waits."""
    request = flow.receiver.ring.push(select)
    flow.receiver.ring.submit()
    flow.tcp.finish()
    return flow.receiver.ring.wait_for(request)


def is_reset(flow: Flow, select: Sqe) -> Cqe:
    """The stream is reset while it waits."""
    request = flow.receiver.ring.push(select)
    flow.receiver.ring.submit()
    flow.tcp.reset()
    return flow.receiver.ring.wait_for(request)


def is_cancelled(flow: Flow, select: Sqe) -> Cqe:
    """It is cancelled while it waits."""
    ring = flow.receiver.ring
    request = ring.push(select)
    ring.submit()
    assert ring.run(op.cancel(request)).res == 0
    return ring.wait_for(request)


def has_no_copies(flow: Flow, select: Sqe) -> Cqe:
    """There is data, and no copy buffer."""
    flow.tcp.send(100)
    flow.tcp.wait_queued(100)
    nowhere = replace(select, addr3=addr3(100, COPY + 1))
    return flow.receiver.ring.run(nowhere)


OUTCOMES = [succeeds, finds_nothing, ends, is_reset, is_cancelled, has_no_copies]


@contract("RECV-30")
@pytest.mark.parametrize("make_pool", [MetadataRing, MetadataGroup], ids=["ring", "classic"])
@pytest.mark.parametrize("outcome", OUTCOMES, ids=[outcome.__name__ for outcome in OUTCOMES])
def test_buffer_is_reported_exactly_if_used_up(
    bystander: Station, make_pool: Callable[..., Pool], outcome: Callable[[Flow, Sqe], Cqe]
) -> None:
    """Whatever becomes of the request, the group has all buffers but those with F_BUFFER.

    Which are those with iovs: the end of the stream, and an error, use none up.
    """
    pool = make_pool(bystander.ring, META, 3, 256)
    flow = bystander.flow()
    for _ in range(2 if outcome in (succeeds, finds_nothing, is_cancelled) else 1):
        cqe = outcome(flow, flow.receiver.sqe_select(1000, META))
        used = f"result {cqe.res} with metadata buffer {cqe.buffer_id}"
        assert (cqe.buffer_id is not None) == (cqe.res > 0), used
        received = flow.receiver.decode(cqe, pool.used(cqe))
        flow.receiver.give_back(flow.accept(received))
    queued = flow.tcp.queued() if flow.tcp.sending else 0
    flow.drain(queued)
    lent = list(pool.books.lent)
    assert bystander.metadata_left(pool) == lent


@contract("RECV-9", "RECV-29", "RECV-30")
@pytest.mark.parametrize("make_pool", [MetadataRing, MetadataGroup], ids=["ring", "classic"])
def test_unwritable_buffer_of_a_group(
    either_loaded: Flow, either_station: Station, make_pool: Callable[..., Pool]
) -> None:
    """A buffer that cannot be written is EFAULT, no byte is lost, and F_BUFFER is exact."""
    pool = make_pool(either_station.ring, META, 3, PAGE)
    select = either_loaded.receiver.sqe_select(LOADED, META)
    with pool.memory.protected():
        cqe = either_station.ring.run(select)
    assert (cqe.error, either_loaded.tcp.queued()) == (errno.EFAULT, LOADED)
    pool.used(cqe)
    no_copy_lost(either_station)
    either_loaded.drain(LOADED)
    lent = list(pool.books.lent)
    assert either_station.metadata_left(pool) == lent


# -- copy buffers ------------------------------------------------------------------------------


@contract("RECV-11", "RECV-29")
def test_copy_group_that_does_not_exist(bystander: Station) -> None:
    """A copy group that nobody has registered has no buffers: ENOBUFS, and the data stays."""
    flow = bystander.flow()
    flow.tcp.send(1000)
    flow.tcp.wait_queued(1000)
    flow.refused(replace(flow.receiver.sqe(1000), addr3=addr3(1000, COPY + 1)), errno.ENOBUFS)
    flow.drain(1000)


@contract("RECV-11", "RECV-29")
def test_copy_group_that_is_no_ring(bystander: Station) -> None:
    """A classic group is no copy ring: ENOBUFS, the data stays and the buffers are untouched."""
    flow, group, size = bystander.flow(), COPY + 1, 2 * PAGE
    memory = Memory(size)
    bystander.ring.on_close(memory.close)
    assert bystander.ring.run(op.provide_buffers(memory.addr, PAGE, 2, group)).error == 0
    flow.tcp.send(1000)
    flow.tcp.wait_queued(1000)
    flow.refused(replace(flow.receiver.sqe(1000), addr3=addr3(1000, group)), errno.ENOBUFS)
    assert not any(memory.view)
    assert bystander.ring.run(op.remove_buffers(2, group)).res == 2
    flow.drain(1000)


@contract("RECV-29", "RECV-18")
def test_copy_buffer_at_a_bad_address(bystander: Station) -> None:
    """What was copied before a buffer that cannot be written is reported first, EFAULT next."""
    flow, size = bystander.flow(), 100
    good = flow.receiver.copy
    bad = CopyRing(bystander.ring, COPY + 1, 4, size, fill=False)
    bad.give(0)
    bad.add(8, size, 1)
    bad.give(2)
    flow.tcp.send(1000)
    flow.tcp.wait_queued(1000)
    flow.receiver.copy = bad
    received = flow.receiver.run(flow.receiver.sqe(1000))
    assert 0 < received.length <= size
    flow.accept(received)
    for _ in range(2):
        flow.refused(flow.receiver.sqe(1000), errno.EFAULT)
    flow.receiver.copy = good
    flow.drain(1000 - received.length)


@pytest.mark.zero_copy
@contract("RECV-21")
def test_copy_group_that_is_not_needed(station: Station) -> None:
    """Data in the region is received all the same."""
    flow = station.flow()
    flow.tcp.send(1000)
    flow.tcp.wait_queued(1000)
    sqe = replace(flow.receiver.sqe(1000), addr3=addr3(1000, COPY + 1))
    received = flow.receiver.run(sqe)
    assert received.length == 1000
    flow.receiver.give_back(flow.accept(received))


@contract("RECV-29")
@pytest.mark.parametrize("total", [1000, 2 * PAGE])
def test_unwritable_copy_buffer(bystander: Station, total: int) -> None:
    """A copy buffer that cannot be written is EFAULT; made writable, all the data comes."""
    flow, memory = bystander.flow(), bystander.copy.memory
    flow.tcp.send(total)
    flow.tcp.wait_queued(total)
    with memory.protected():
        flow.refused(flow.receiver.sqe(total), errno.EFAULT)
    bystander.copy.give()
    flow.drain(total)


@contract("RECV-18", "RECV-20")
@pytest.mark.parametrize("size", [1, 100, PAGE + 1, 3 * PAGE])
def test_copy_buffers_of_any_size(make_station: MakeStation, size: int) -> None:
    """Copies fill buffers of a byte, and of several pages, and nothing beyond them."""
    station = make_station(queue=UNUSED_QUEUE, copies=8, copy_size=size)
    flow, total = station.flow(), max(50, 2 * size)
    flow.tcp.send(total)
    flow.tcp.wait_queued(total)
    flow.drain(total)
    assert flow.tally.copied == total


# -- what a completion says of the socket ------------------------------------------------------


@contract("RECV-30")
def test_more_to_read_is_announced_truly(either_loaded: Flow) -> None:
    """F_SOCK_NONEMPTY is never set on the completion that empties the socket."""
    flow = either_loaded
    while flow.tally.total < LOADED:
        received = flow.receiver.run(flow.receiver.sqe(777))
        flow.receiver.give_back(flow.accept(received))
        if received.cqe.flags & CqeFlag.SOCK_NONEMPTY:
            assert flow.tcp.queued() > 0


@contract("RECV-30")
def test_no_more_to_read_on_errors(bystander: Station) -> None:
    """Nor on a request that fails on an empty socket, after one that has left something."""
    flow = bystander.flow()
    for _ in range(3):
        flow.tcp.send(100)
        flow.tcp.wait_queued(100)
        flow.receiver.give_back(flow.accept(flow.receiver.run(flow.receiver.sqe(60))))
        flow.drain(40)
        received = flow.receiver.run(flow.receiver.sqe(1, msg_flags=socket.MSG_DONTWAIT))
        assert received.error == errno.EAGAIN
        assert not received.cqe.flags & CqeFlag.SOCK_NONEMPTY
