# SPDX-License-Identifier: GPL-2.0
"""Another MTU on both ends of a link, for a while."""

import contextlib
from collections.abc import Iterator

from netns.link import Link

LARGEST = 65_535  # ETH_MAX_MTU


@contextlib.contextmanager
def mtu(link: Link, size: int) -> Iterator[None]:
    """Inside, both ends take packets of that size."""
    ends = (link.tx, link.rx)
    for end in ends:
        end.set(mtu=size)
    try:
        yield
    finally:
        for end in ends:
            end.set(mtu=link.spec.mtu)
