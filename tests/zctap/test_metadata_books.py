# SPDX-License-Identifier: GPL-2.0
"""The books about metadata buffers: which the kernel has, and what it may say of them."""

from collections.abc import Callable
from typing import cast

import pytest

from lib.uring import Cqe, CqeFlag, Ring
from lib.zctap import ContractError
from lib.zctap.metadata import MetadataRing


class YesRing:
    """A ring whose kernel accepts everything."""

    fd = 3

    def register(self, *_args: object) -> None:
        """Accept."""

    def on_close(self, _undo: Callable[[], object]) -> None:
        """Forget."""


@pytest.fixture
def pool() -> MetadataRing:
    return MetadataRing(cast(Ring, YesRing()), 30, 3, 32)


def completion(res: int, bid: int | None) -> Cqe:
    return Cqe(1, res, 0 if bid is None else CqeFlag.BUFFER | bid << 16)


def test_buffers_are_used_in_order(pool: MetadataRing) -> None:
    pool.memory.view[32:36] = b"iovs"
    assert pool.used(completion(16, 0)) is not None
    second = pool.used(completion(-14, 1))
    assert second is not None
    assert bytes(second[:4]) == b"iovs"
    assert list(pool.books.lent) == [2]
    pool.give(0)
    assert list(pool.books.lent) == [2, 0]


def test_no_buffer_used(pool: MetadataRing) -> None:
    assert pool.used(completion(-105, None)) is None
    assert pool.used(completion(0, None)) is None
    assert list(pool.books.lent) == [0, 1, 2]


@pytest.mark.parametrize(("res", "bid"), [(16, None), (16, 1), (-105, 3), (0, 2)])
def test_buffers_that_cannot_be(pool: MetadataRing, res: int, bid: int | None) -> None:
    with pytest.raises(ContractError):
        pool.used(completion(res, bid))
