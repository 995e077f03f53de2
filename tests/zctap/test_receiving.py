# SPDX-License-Identifier: GPL-2.0
"""Decoding of completions and the books about buffers, with a kernel that says yes to all."""

import socket
from collections import Counter
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from lib.uring import PAGE, Cqe, Ring
from lib.zctap import ContractError, CopyRing, FillRing, Receiver, Zctap
from lib.zctap.abi import IOV, addr3
from lib.zctap.debugfs import Accounting, Entry, PageRefs
from lib.zctap.rest import unrest
from lib.zerocopy import Region

REGION, FILL, COPY = 0, 10, 20
NUMBERS = Zctap(49, 26, 27, "test")


class YesRing:
    """A ring whose kernel accepts everything."""

    fd = 3

    def __init__(self) -> None:
        self.undo: list[Callable[[], object]] = []

    def register(self, *_args: object) -> None:
        """Accept."""

    def on_close(self, undo: Callable[[], object]) -> None:
        """Remember."""
        self.undo.append(undo)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    yes = YesRing()
    ring = cast(Ring, yes)
    region = Region(4)
    fill, copy = FillRing(ring, FILL, region), CopyRing(ring, COPY, 2, 100)
    with socket.socket() as sock:
        yield Receiver(ring, NUMBERS, sock, region=region, copy=copy, fill=fill, iovs=4)


def completion(receiver: Receiver, *iovs: tuple[int, int, int, int]) -> Cqe:
    for at, iov in enumerate(iovs):
        IOV.pack_into(receiver.metadata.view, at * 16, *iov, 0, 0)
    return Cqe(1, 16 * len(iovs), 0)


def test_pieces_are_views_of_where_they_lie(receiver: Receiver) -> None:
    region = receiver.region
    assert region is not None
    region.memory.view[2 * PAGE + 7 : 2 * PAGE + 12] = b"zeroc"
    receiver.copy.memory.view[110:114] = b"copy"
    cqe = completion(receiver, (7, 5, REGION, 2), (10, 4, COPY, 1))
    received = receiver.decode(cqe)
    assert [(bytes(c.data), c.zero_copy, c.bid, c.offset) for c in received.chunks] == [
        (b"zeroc", True, 2, 7),
        (b"copy", False, 1, 10),
    ]
    assert (received.length, received.error, received.end) == (9, 0, False)
    region.memory.view[2 * PAGE + 7] = ord("Z")
    assert bytes(received.chunks[0].data) == b"Zeroc"


@pytest.mark.parametrize(
    "iov",
    [
        (0, PAGE + 1, REGION, 0),
        (PAGE, 1, REGION, 0),
        (PAGE - 1, 2, REGION, 3),
        (0, 1, REGION, 4),
        (0, 0, REGION, 0),
        (0, 101, COPY, 0),
        (99, 2, COPY, 1),
        (0, 1, COPY, 2),
        (0, 1, FILL, 0),
    ],
)
def test_impossible_pieces(receiver: Receiver, iov: tuple[int, int, int, int]) -> None:
    with pytest.raises(ContractError):
        receiver.decode(completion(receiver, iov))


def test_copy_buffers_do_not_overlap(receiver: Receiver) -> None:
    with pytest.raises(ContractError, match="not behind"):
        receiver.decode(completion(receiver, (0, 9, COPY, 1), (8, 9, COPY, 1)))


def test_copy_buffers_are_not_shared_by_calls(receiver: Receiver) -> None:
    receiver.decode(completion(receiver, (0, 9, COPY, 1), (9, 1, COPY, 1)))
    with pytest.raises(ContractError, match="earlier call"):
        receiver.decode(completion(receiver, (10, 9, COPY, 1)))
    receiver.copy.held.clear()
    chunks = receiver.decode(completion(receiver, (0, 9, COPY, 1))).chunks
    receiver.give_back(chunks)
    assert receiver.decode(completion(receiver, (0, 9, COPY, 1))).length == 9


@pytest.mark.parametrize("res", [1, 15, 17, 5 * 16])
def test_impossible_results(receiver: Receiver, res: int) -> None:
    with pytest.raises(ContractError):
        receiver.decode(Cqe(1, res, 0))


def test_errors_and_the_end(receiver: Receiver) -> None:
    assert receiver.decode(Cqe(1, -105, 0)).error == 105
    assert receiver.decode(Cqe(1, 0, 0)).end


def test_page_goes_back_once_for_each_piece(receiver: Receiver) -> None:
    region, fill = receiver.region, receiver.fill
    assert region is not None
    assert fill is not None
    chunks = receiver.decode(completion(receiver, (0, 9, REGION, 1), (9, 9, REGION, 1))).chunks
    assert region.held == {1: 2}
    receiver.give_back(chunks)
    assert not +region.held
    assert list(fill.given) == [1, 1]


def test_copy_buffer_goes_back_after_its_last_piece(receiver: Receiver) -> None:
    chunks = receiver.decode(completion(receiver, (0, 9, COPY, 1), (9, 9, COPY, 1))).chunks
    receiver.give_back(chunks[:1])
    assert receiver.copy.held == {1: 1}
    receiver.give_back(chunks[1:])
    assert not receiver.copy.held


def test_addr3() -> None:
    assert addr3(0x11223344, 0x5566, 0x7788) == 0x11223344_5566_7788


class Books(Entry):
    """Debugfs of an ifq as a test likes it; `skewed` moves a page from `user` to `driver`."""

    def __init__(self, *refs: PageRefs, free: int, skewed: int = 0) -> None:
        self.lines, self.free, self.skewed = list(refs), free, skewed

    def refs(self) -> list[PageRefs]:
        """The lines given."""
        return self.lines

    def accounting(self) -> Accounting:
        """What they add up to."""
        driver = sum(1 for line in self.lines if line.driver)
        skb = sum(1 for line in self.lines if line.skb and not line.driver)
        user = len(self.lines) - driver - skb
        return Accounting(self.free, driver + self.skewed, skb, user - self.skewed, 4)


def books_of(receiver: Receiver) -> tuple[Region, FillRing]:
    assert receiver.region is not None
    assert receiver.fill is not None
    return receiver.region, receiver.fill


def test_rest_with_pages_held_and_returned(receiver: Receiver) -> None:
    region, fill = books_of(receiver)
    region.held = Counter({0: 1, 1: 3})
    fill.give([0, 1, 1])
    # The kernel has taken the first entry; two of page 1 lie untaken, one is still held.
    assert unrest(Books(PageRefs(1, 0, 0, 3), free=3), region, fill) == ""
    assert region.held == {0: 0, 1: 1}


@pytest.mark.parametrize(
    ("books", "text"),
    [
        (Books(free=3), "not conserved"),
        (Books(PageRefs(0, 0, 0, 1), free=3, skewed=1), "references amount to"),
        (Books(PageRefs(0, 0, 1, 0), free=3), "skbs hold pages"),
        (
            Books(PageRefs(0, 0, 0, 1), PageRefs(2, 0, 0, 1), free=2),
            "neither held nor in the fill ring: {0: 1}",
        ),
        (Books(PageRefs(2, 0, 0, 2), free=3), "neither held nor in the fill ring: {2: 1}"),
        (Books(free=4), "does not know of: {2: 1}"),
    ],
)
def test_unrest(receiver: Receiver, books: Books, text: str) -> None:
    region, fill = books_of(receiver)
    region.held = Counter({3: 1, 2: 1})
    fill.give([3])
    assert text in unrest(books, region, fill)


def test_untaken_entries_are_the_newest(receiver: Receiver) -> None:
    _, fill = books_of(receiver)
    fill.give([0, 1, 2, 2])
    assert fill.untaken(Counter())
    assert fill.untaken(Counter({2: 2}))
    assert fill.untaken(Counter({2: 2, 1: 1}))
    assert not fill.untaken(Counter({1: 1}))
    assert not fill.untaken(Counter({0: 1, 1: 1, 2: 2, 3: 1}))
