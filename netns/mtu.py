# SPDX-License-Identifier: GPL-2.0
"""Another MTU on both ends of a link, for a while."""

import contextlib
from collections.abc import Iterator

from netns.link import Link

LARGEST = 65_535  # ETH_MAX_MTU


@contextlib.contextmanager
def mtu(link: Link, size: int) -> Iterator[None]:
    """Inside, both ends take packets of that size."""
    _set(link, size)
    try:
        yield
    finally:
        _set(link, link.spec.mtu)


def _set(link: Link, size: int) -> None:
    for end in (link.tx, link.rx):
        with end.netlink() as ip:
            ip.link("set", index=end.ifindex, mtu=size)
