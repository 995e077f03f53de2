# SPDX-License-Identifier: GPL-2.0
"""The ring library on any kernel: registered buffers and provided-buffer rings."""

import errno
from collections.abc import Iterator

import pytest

from fixtures.rings import Pair
from lib.pattern import fresh_pattern
from lib.uring import PAGE, BufferPool, BufferRing, Memory, Register, Ring, op
from lib.uring.abi import BufReg
from netns import Connection


@pytest.fixture
def memory(ring: Ring) -> Iterator[Memory]:
    """Two pages, registered as fixed buffer 0."""
    with Memory(2 * PAGE) as area:
        ring.register_buffers([(area.addr, area.size)])
        yield area


# -- registered buffers --------------------------------------------------------------------


def test_fixed_write_and_read(ring: Ring, memory: Memory, pipe: tuple[int, int], seed: int) -> None:
    """Bytes go out of one part of a registered buffer and come back into another."""
    pattern = fresh_pattern(seed)
    memory.view[:PAGE] = pattern.slice(0, PAGE)
    assert ring.run(op.write_fixed(pipe[1], memory.addr + 100, 3000, 0)).res == 3000
    assert ring.run(op.read_fixed(pipe[0], memory.addr + PAGE, 3000, 0)).res == 3000
    pattern.check(100, memory.view[PAGE : PAGE + 3000])
    assert not any(memory.view[PAGE + 3000 :])


def test_fixed_access_stays_in_its_buffer(
    ring: Ring, memory: Memory, pipe: tuple[int, int]
) -> None:
    """An address before, behind or across the end of the registered buffer is EFAULT."""
    for addr, length in [
        (memory.addr - 1, 1),
        (memory.addr + memory.size, 1),
        (memory.addr + memory.size - 1, 2),
    ]:
        assert ring.run(op.write_fixed(pipe[1], addr, length, 0)).error == errno.EFAULT


def test_fixed_index_must_be_registered(ring: Ring, memory: Memory, pipe: tuple[int, int]) -> None:
    """A buffer index beyond the table is EFAULT."""
    assert ring.run(op.write_fixed(pipe[1], memory.addr, 1, 1)).error == errno.EFAULT


def test_sparse_slot_can_be_filled_and_emptied(ring: Ring, pipe: tuple[int, int]) -> None:
    """An empty slot is EFAULT, works once a buffer is put there, and is EFAULT again."""
    ring.register_sparse_buffers(4)
    with Memory(PAGE) as area:
        write = op.write_fixed(pipe[1], area.addr, 1, 3)
        assert ring.run(write).error == errno.EFAULT
        ring.update_buffer(3, area.addr, area.size)
        assert ring.run(write).res == 1
        ring.update_buffer(3, 0, 0)
        assert ring.run(write).error == errno.EFAULT


def test_one_table_of_buffers(ring: Ring, memory: Memory) -> None:
    """A second table is EBUSY; after unregistration, which works once, it is accepted."""
    with pytest.raises(OSError) as caught:
        ring.register_buffers([(memory.addr, PAGE)])
    assert caught.value.errno == errno.EBUSY
    ring.unregister_buffers()
    with pytest.raises(OSError) as caught:
        ring.unregister_buffers()
    assert caught.value.errno == errno.ENXIO
    ring.register_buffers([(memory.addr, PAGE)])


def test_unmapped_memory_cannot_be_registered(ring: Ring) -> None:
    """A table with one bad address is EFAULT as a whole: nothing of it stays registered."""
    nowhere = 1 << 46  # user space, but nothing is ever mapped so far up by chance
    with Memory(PAGE) as good:
        with pytest.raises(OSError) as caught:
            ring.register_buffers([(good.addr, PAGE), (nowhere, PAGE)])
        assert caught.value.errno == errno.EFAULT
        ring.register_buffers([(good.addr, PAGE)])


# -- provided-buffer rings -----------------------------------------------------------------


def test_buffers_are_taken_in_order(ring: Ring, pair: Pair) -> None:
    """Each receive takes the next buffer of the ring and reports its id."""
    pool = BufferPool(ring, 5, 4, 64)
    for number in range(4):
        pair[1].send(b"message %d" % number)
        cqe = ring.run(op.recv_select(pair[0].fileno(), 5))
        assert (cqe.res, cqe.buffer_id) == (9, number)
        assert bytes(pool.buffer(number, 9)) == b"message %d" % number


def test_buffer_ring_wraps_around(ring: Ring, pair: Pair) -> None:
    """Buffers given back are taken again, far beyond the end of the ring."""
    pool = BufferPool(ring, 5, 2, 64)
    for number in range(9):
        pair[1].send(b"message %d" % number)
        cqe = ring.run(op.recv_select(pair[0].fileno(), 5))
        assert cqe.buffer_id == number % 2
        assert bytes(pool.buffer(number % 2, cqe.res)) == b"message %d" % number
        pool.give(number % 2)


def test_no_buffers_and_no_group(ring: Ring, pair: Pair) -> None:
    """An empty and a missing group are ENOBUFS; the data stays for the next receive."""
    pool = BufferPool(ring, 5, 1, 64, fill=False)
    pair[1].send(b"kept")
    for group in (5, 6):
        assert ring.run(op.recv_select(pair[0].fileno(), group)).error == errno.ENOBUFS
    pool.give(0)
    assert ring.run(op.recv_select(pair[0].fileno(), 5)).res == 4
    assert bytes(pool.buffer(0, 4)) == b"kept"


def test_buffer_bounds_the_receive(ring: Ring, pair: Pair) -> None:
    """No more is received than the buffer's length, the rest comes with the next one."""
    pool = BufferPool(ring, 5, 2, 8)
    pair[1].send(b"0123456789")
    lengths = [ring.run(op.recv_select(pair[0].fileno(), 5)).res for _ in range(2)]
    assert lengths == [8, 2]
    assert bytes(pool.buffer(0)) == b"01234567"
    assert bytes(pool.buffer(1, 2)) == b"89"


def test_group_can_be_unregistered_and_registered_again(ring: Ring) -> None:
    """A group that exists is EEXIST, one that is gone ENOENT, and its number is free again."""
    bgid = 1000  # 6.1 keeps an empty shell of groups below 64, and says EINVAL for those
    group = BufferRing(ring, bgid, 4)
    with pytest.raises(OSError) as caught:
        BufferRing(ring, bgid, 4)
    assert caught.value.errno == errno.EEXIST
    group.unregister()
    with pytest.raises(OSError) as caught:
        group.unregister()
    assert caught.value.errno == errno.ENOENT
    BufferRing(ring, bgid, 4)


@pytest.mark.parametrize(
    ("offset", "entries"), [(0, 3), (0, 1 << 16), (16, 4)], ids=["odd", "many", "unaligned"]
)
def test_bad_buffer_rings_are_refused(ring: Ring, offset: int, entries: int) -> None:
    """A size that is no power of two or too large, and an unaligned address, are EINVAL."""
    with Memory(PAGE) as area:
        reg = BufReg(ring_addr=area.addr + offset, ring_entries=entries, bgid=5)
        with pytest.raises(OSError) as caught:
            ring.register(Register.PBUF_RING, reg, 1)
    assert caught.value.errno == errno.EINVAL


def test_tail_is_all_that_counts(ring: Ring, pair: Pair) -> None:
    """A buffer that was written down but not shown is not taken; shown, it is."""
    pool = BufferPool(ring, 5, 2, 64, fill=False)
    pair[1].send(b"kept")
    pool.add(pool.memory.addr, 64, 0)
    assert ring.run(op.recv_select(pair[0].fileno(), 5)).error == errno.ENOBUFS
    pool.publish()
    cqe = ring.run(op.recv_select(pair[0].fileno(), 5))
    assert (cqe.res, cqe.buffer_id) == (4, 0)


def test_classic_group(ring: Ring, pair: Pair) -> None:
    """Buffers provided one by one are taken each once; those removed are not taken."""
    with Memory(PAGE) as area:
        assert ring.run(op.provide_buffers(area.addr, 64, 4, 5, 10)).res == 0
        assert ring.run(op.remove_buffers(2, 5)).res == 2
        seen = set()
        for number in range(2):
            pair[1].send(b"message %d" % number)
            cqe = ring.run(op.recv_select(pair[0].fileno(), 5, length=64))
            assert cqe.res == 9
            assert cqe.buffer_id is not None
            seen.add(cqe.buffer_id)
            at = 64 * (cqe.buffer_id - 10)
            assert bytes(area.view[at : at + 9]) == b"message %d" % number
        assert len(seen) == 2
        assert seen < {10, 11, 12, 13}
        pair[1].send(b"kept")
        assert ring.run(op.recv_select(pair[0].fileno(), 5, length=64)).error == errno.ENOBUFS
    assert pair[0].recv(100) == b"kept"


def test_group_is_of_one_kind(ring: Ring) -> None:
    """A ring-mapped group takes no provided buffers, and a classic one is not mapped over."""
    BufferPool(ring, 5, 2, 64)
    with Memory(PAGE) as area:
        assert ring.run(op.provide_buffers(area.addr, 64, 1, 5)).error == errno.EINVAL
        assert ring.run(op.provide_buffers(area.addr, 64, 1, 6)).res == 0
        with pytest.raises(OSError) as caught:
            BufferRing(ring, 6, 4)
        assert caught.value.errno == errno.EEXIST


def test_multishot_receive(ring: Ring, pair: Pair) -> None:
    """One request receives until the buffers run out; a second one goes on where it ended."""
    pool = BufferPool(ring, 5, 2, 64)
    request = ring.push(op.recv_select(pair[0].fileno(), 5, multishot=True))
    ring.submit()
    for number in range(2):
        pair[1].send(b"message %d" % number)
        cqe = ring.wait_for(request)
        assert (cqe.res, cqe.more, cqe.buffer_id) == (9, True, number)
    pair[1].send(b"message 2")
    cqe = ring.wait_for(request)
    assert (cqe.error, cqe.more) == (errno.ENOBUFS, False)
    pool.give(0)
    cqe = ring.run(op.recv_select(pair[0].fileno(), 5, multishot=True))
    assert bytes(pool.buffer(0, cqe.res)) == b"message 2"


def test_multishot_receive_ends_with_the_stream(ring: Ring, pair: Pair) -> None:
    """When the peer closes, a multishot receive completes with 0 and without F_MORE."""
    BufferPool(ring, 5, 2, 64)
    request = ring.push(op.recv_select(pair[0].fileno(), 5, multishot=True))
    ring.submit()
    pair[1].close()
    cqe = ring.wait_for(request)
    assert (cqe.res, cqe.more) == (0, False)


def test_stream_through_provided_buffers(ring: Ring, connection: Connection) -> None:
    """256 KiB of TCP through eight buffers arrive whole and in order."""
    total = 256 << 10
    pool = BufferPool(ring, 5, 8, 2 * PAGE)
    left = total - connection.feed(total)
    while connection.check.offset < total:
        cqe = ring.run(op.recv_select(connection.rx.fileno(), 5))
        assert cqe.res > 0
        assert cqe.buffer_id is not None
        connection.check.check(pool.buffer(cqe.buffer_id, cqe.res))
        pool.give(cqe.buffer_id)
        left -= connection.feed(left)
    assert connection.queued() == 0
