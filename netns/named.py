# SPDX-License-Identifier: GPL-2.0
"""The card that the environment names, as a link.

The variables are those of lib/nic/config.py, from the environment alone: run_tests.py reads files
and options, and hands on what comes of them. ZCTAP_I_KNOW is its --i-know.
"""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from lib.deadline import wait_until
from netns.link import Link

if TYPE_CHECKING:
    from netns.card_link import CardLink
    from netns.dial import AnyLink

# Seconds for two ends to agree on a speed, which no processor makes faster.
_NEGOTIATION = 6.0

Silence = Callable[[], str]


@contextmanager
def card_link(queue: int, stand_in: Callable[[], Link]) -> Iterator[tuple["CardLink", Silence]]:
    """The card, set up: all TCP goes to that queue. As it was, afterwards.

    stand_in: as in CardLink. Silence tells why nothing can arrive, "" if something can. Raises
    Trouble, OSError.
    """
    # Only here: it takes a guest a while to import this.
    from lib.nic import config
    from lib.nic.card import Card
    from netns.card_link import CardLink

    names = [name for _, name in socket.if_nameindex()]
    wanted = config.complete(config.read(os.environ, interfaces=names))
    with Card(wanted.netif, i_know=bool(os.environ.get("ZCTAP_I_KNOW"))) as card:
        silence = card.device.silence
        link = CardLink(card, wanted, queue, stand_in)
        try:
            # Drivers reset themselves for what has just been set, which takes the carrier away.
            with suppress(TimeoutError):
                wait_until(lambda: not silence(), "a carrier", _NEGOTIATION, exact=True)
            yield link, silence
        finally:
            link.close()


@contextmanager
def any_link(queue: int) -> Iterator["AnyLink"]:
    """The card, or a veth pair if none is named; all TCP goes to that queue.

    On a card that receives with copies only, `copies` says why, and wherever it wants.
    Raises Trouble, Unsupported, OSError, and pyroute2's NetlinkError.
    """
    with ExitStack() as stack:
        if os.environ.get("NETIF"):
            link, silence = stack.enter_context(
                card_link(queue, lambda: stack.enter_context(Link()))
            )
            if why := silence():
                raise OSError(why)
            yield link
        else:
            pair = stack.enter_context(Link())
            pair.steer(queue)
            yield pair
