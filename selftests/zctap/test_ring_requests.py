# SPDX-License-Identifier: GPL-2.0
"""The ring library on any kernel: submission, completion, order, time, cancellation."""

import errno
import select

import pytest

from fixtures.rings import MakeRing, Pair
from lib.uring import Cancel, Register, Ring, Setup, Sqe, SqeFlag, op
from lib.uring.abi import Restriction, RestrictionEntry, Timeout


def test_nop_completes_with_its_user_data(ring: Ring) -> None:
    """A NOP completes once, with 0 and the user_data it was given."""
    ring.push(op.nop(), user_data=0x1234_5678_9ABC_DEF0)
    assert ring.wait() == [(0x1234_5678_9ABC_DEF0, 0, 0)]
    assert ring.reap() == []


def test_chain_completes_in_order(ring: Ring) -> None:
    """Linked requests complete in the order they were pushed."""
    pushed = [ring.push(op.nop().with_flags(SqeFlag.IO_LINK)) for _ in range(15)]
    pushed.append(ring.push(op.nop()))
    assert [cqe.user_data for cqe in ring.wait(16)] == pushed


def test_rings_wrap_around(make_ring: MakeRing) -> None:
    """Indexes run past the ends of both rings, and every request completes once."""
    ring = make_ring(4)
    pushed, seen = [], []
    for _ in range(3 * ring.cq_entries):
        pushed += [ring.push(op.nop()) for _ in range(3)]
        seen += [cqe.user_data for cqe in ring.wait(3)]
    assert seen == pushed


def test_full_submission_queue_refuses_and_goes_on(make_ring: MakeRing) -> None:
    """push() beyond the queue raises; what is in it is submitted whole afterwards."""
    ring = make_ring(4)
    for _ in range(ring.sq_entries):
        ring.push(op.nop())
    with pytest.raises(BlockingIOError):
        ring.push(op.nop())
    assert ring.submit() == ring.sq_entries
    assert len(ring.wait(ring.sq_entries)) == ring.sq_entries


def test_completions_beyond_the_queue_are_kept(make_ring: MakeRing) -> None:
    """With the CQ full completions wait in the kernel, are announced, and arrive in order."""
    ring = make_ring(4, cq_entries=4)
    pushed = []
    for _ in range(3):
        pushed += [ring.push(op.nop()) for _ in range(4)]
        ring.submit()
    assert ring.overflowed
    assert ring.ready() == 4
    assert [cqe.user_data for cqe in ring.wait(12)] == pushed
    assert not ring.overflowed
    assert ring.lost == 0


def test_unknown_opcode_is_refused(ring: Ring) -> None:
    """Opcode 255 completes with EINVAL, and the ring goes on."""
    assert ring.run(Sqe(255)).error == errno.EINVAL
    assert ring.run(op.nop()).res == 0


@pytest.mark.parametrize(
    ("entries", "flags", "expected"),
    [
        (0, 0, errno.EINVAL),
        (1 << 16, 0, errno.EINVAL),
        (8, 1 << 31, errno.EINVAL),
        (8, Setup.DEFER_TASKRUN, errno.EINVAL),  # without SINGLE_ISSUER
    ],
)
def test_setup_errors(entries: int, flags: int, expected: int) -> None:
    """io_uring_setup() refuses no entries, too many, unknown flags, half of a pair of flags."""
    with pytest.raises(OSError) as caught:
        Ring(entries, flags).close()
    assert caught.value.errno == expected


@pytest.mark.parametrize(
    "flags",
    [
        Setup.SQPOLL,
        Setup.COOP_TASKRUN,
        Setup.SINGLE_ISSUER,
        Setup.SINGLE_ISSUER | Setup.DEFER_TASKRUN,
    ],
    ids=["sqpoll", "coop-taskrun", "single-issuer", "defer-taskrun"],
)
def test_setup_flags_work(make_ring: MakeRing, pair: Pair, flags: Setup) -> None:
    """A request that waits for data completes on rings of every kind."""
    ring, buffer = make_ring(8, flags, sq_idle_ms=10), bytearray(8)
    request = ring.push(op.recv(pair[0].fileno(), buffer))
    ring.submit()
    pair[1].send(b"payload")
    assert ring.wait_for(request).res == 7
    assert buffer[:7] == b"payload"


def test_disabled_ring_waits_for_enable(make_ring: MakeRing) -> None:
    """A ring set up with R_DISABLED refuses submissions until it is enabled."""
    ring = make_ring(8, Setup.R_DISABLED)
    ring.push(op.nop())
    with pytest.raises(OSError) as caught:
        ring.submit()
    assert caught.value.errno == errno.EBADFD
    ring.enable()
    assert len(ring.wait(1)) == 1


def test_restrictions_hold(make_ring: MakeRing) -> None:
    """A register opcode that the restrictions do not name is refused with EACCES."""
    ring = make_ring(8, Setup.R_DISABLED)
    allowed = (RestrictionEntry * 2)(
        RestrictionEntry(Restriction.REGISTER_OP, Register.ENABLE_RINGS),
        RestrictionEntry(Restriction.SQE_OP, 0),
    )
    ring.register(Register.RESTRICTIONS, allowed, 2)
    ring.enable()
    with pytest.raises(PermissionError) as caught:
        ring.register_sparse_buffers(1)
    assert caught.value.errno == errno.EACCES
    assert ring.run(op.nop()).res == 0


def test_wait_for_one_keeps_the_others(ring: Ring) -> None:
    """wait_for() leaves what completed before and after its request to the next wait."""
    pushed = [ring.push(op.nop()) for _ in range(3)]
    assert ring.wait_for(pushed[1]).user_data == pushed[1]
    assert [cqe.user_data for cqe in ring.wait(2)] == [pushed[0], pushed[2]]


def test_timeout_expires(ring: Ring) -> None:
    """A timeout without anything else completes with ETIME."""
    assert ring.run(op.timeout(0.001)).error == errno.ETIME


def test_timeout_counts_completions(ring: Ring) -> None:
    """A timeout with a count completes with 0 once so many requests have."""
    timeout = ring.push(op.timeout(60, count=2))
    ring.push(op.nop())
    ring.push(op.nop())
    assert ring.wait_for(timeout).res == 0


def test_timeout_as_success_keeps_the_chain(ring: Ring) -> None:
    """With ETIME_SUCCESS an expired timeout does not break the chain behind it."""
    ring.push(op.timeout(0.001, flags=Timeout.ETIME_SUCCESS).with_flags(SqeFlag.IO_LINK))
    follower = ring.push(op.nop())
    assert ring.wait_for(follower).res == 0


def test_wait_gives_up_and_loses_nothing(ring: Ring, pair: Pair) -> None:
    """wait() raises TimeoutError after its time; what came meanwhile comes with the next wait."""
    buffer = bytearray(4)
    ring.push(op.recv(pair[0].fileno(), buffer), user_data=1)
    ring.push(op.nop(), user_data=2)
    with pytest.raises(TimeoutError):
        ring.wait(2, timeout=0.01)
    pair[1].send(b"late")
    assert [(cqe.user_data, cqe.res) for cqe in ring.wait(2)] == [(2, 0), (1, 4)]


def test_broken_chain_is_cancelled(ring: Ring) -> None:
    """A request behind a failed link completes with ECANCELED."""
    ring.push(op.recv(-1, bytearray(1)).with_flags(SqeFlag.IO_LINK), user_data=1)
    ring.push(op.nop(), user_data=2)
    errors = {cqe.user_data: cqe.error for cqe in ring.wait(2)}
    assert errors == {1: errno.EBADF, 2: errno.ECANCELED}


def test_link_timeout_cancels(ring: Ring, pair: Pair) -> None:
    """A link timeout ends the request before it."""
    request = op.recv(pair[0].fileno(), bytearray(1)).with_flags(SqeFlag.IO_LINK)
    ring.push(request, user_data=1)
    ring.push(op.link_timeout(0.001), user_data=2)
    errors = {cqe.user_data: cqe.error for cqe in ring.wait(2)}
    assert errors == {1: errno.ECANCELED, 2: errno.ETIME}


def test_cancel_by_user_data(ring: Ring, pair: Pair) -> None:
    """A waiting request is cancelled, and the data that comes later is still there."""
    request = ring.push(op.recv(pair[0].fileno(), bytearray(1)))
    ring.submit()
    assert ring.run(op.cancel(request)).res == 0
    assert ring.wait_for(request).error == errno.ECANCELED
    pair[1].send(b"x")
    assert pair[0].recv(1) == b"x"


def test_cancel_by_descriptor(ring: Ring, pair: Pair) -> None:
    """Everything that waits on a descriptor is cancelled at once."""
    for user_data in (1, 2):
        ring.push(op.recv(pair[0].fileno(), bytearray(1)), user_data=user_data)
    ring.submit()
    assert ring.run(op.cancel_fd(pair[0].fileno(), Cancel.ALL)).res == 2
    assert {cqe.error for cqe in ring.wait(2)} == {errno.ECANCELED}


def test_cancel_of_nothing(ring: Ring) -> None:
    """Cancelling what is not there completes with ENOENT."""
    assert ring.run(op.cancel(12345)).error == errno.ENOENT


def test_poll_reports_readiness(ring: Ring, pair: Pair) -> None:
    """A poll waits, and completes with the event that became true."""
    request = ring.push(op.poll_add(pair[0].fileno(), select.POLLIN))
    ring.submit()
    assert ring.reap() == []
    pair[1].send(b"x")
    assert ring.wait_for(request).res & select.POLLIN


def test_multishot_poll_stays_armed(ring: Ring, pair: Pair) -> None:
    """A multishot poll completes at each arrival, with F_MORE."""
    request = ring.push(op.poll_add(pair[0].fileno(), select.POLLIN, multishot=True))
    ring.submit()
    for _ in range(3):
        pair[1].send(b"x")
        cqe = ring.wait_for(request)
        assert cqe.more
        assert cqe.res & select.POLLIN
        pair[0].recv(1)


def test_fixed_file(ring: Ring, pair: Pair) -> None:
    """A registered file is used by its index; an empty slot is EBADF."""
    ring.register_files([-1, pair[0].fileno()])
    pair[1].send(b"fixed")
    buffer = bytearray(8)
    assert ring.run(op.recv(1, buffer).with_flags(SqeFlag.FIXED_FILE)).res == 5
    assert buffer[:5] == b"fixed"
    assert ring.run(op.recv(0, buffer).with_flags(SqeFlag.FIXED_FILE)).error == errno.EBADF


def test_skipped_completion(ring: Ring) -> None:
    """CQE_SKIP_SUCCESS: a success says nothing, a failure still does."""
    ring.push(op.nop().with_flags(SqeFlag.CQE_SKIP_SUCCESS), user_data=1)
    ring.push(Sqe(255).with_flags(SqeFlag.CQE_SKIP_SUCCESS), user_data=2)
    cqes = ring.wait(1)
    ring.push(op.nop(), user_data=3)
    cqes += ring.wait(1)
    assert [(cqe.user_data, cqe.error) for cqe in cqes] == [(2, errno.EINVAL), (3, 0)]


def test_closed_ring_cannot_be_used(make_ring: MakeRing) -> None:
    """After close() every access raises, and closing again is harmless."""
    ring = make_ring()
    ring.close()
    ring.close()
    with pytest.raises(ValueError, match="released"):
        ring.push(op.nop())
    with pytest.raises(ValueError, match="released"):
        ring.ready()
