# SPDX-License-Identifier: GPL-2.0
"""A TCP connection to the receiving end of a link, whatever its other end is."""

from typing import TYPE_CHECKING, Any, Union

from lib.pattern import Pattern
from netns import far, tcp
from netns.link import Link, Unsupported
from netns.tcp import Connection

if TYPE_CHECKING:
    from netns.card_link import CardLink

AnyLink = Union[Link, "CardLink"]


def connect(
    link: AnyLink, pattern: Pattern, family: int = 0, *, queue: int | None = None, **options: Any
) -> Connection:
    """A connection from link.tx to link.rx; the options are those of netns.tcp.across().

    family: IP version, 0 for one that the link has. queue: steer this connection alone to an RX
    queue. Raises OSError, Unsupported, and FarLost.
    """
    family = family or link.families[0]
    if family not in link.families:
        raise Unsupported(f"LOCAL_V{family} and REMOTE_V{family} are not given")
    steer = None if queue is None else lambda port: link.steer_port(port, queue)
    if link.far is not None:
        return far.across(link.far, link.rx, pattern, family, steer=steer, **options)
    return tcp.across(link.tx, link.rx, pattern, family, steer=steer, **options)
