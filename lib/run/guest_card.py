# SPDX-License-Identifier: GPL-2.0
"""A device that is made in a guest, and tested there as if it were a card."""

from __future__ import annotations

import time

from lib.run.nic_options import Nic
from lib.run.tested import Tested, switches
from lib.trouble import Trouble
from lib.vm.guest import Guest

_PEER = "peer"  # a namespace
_ADDRESSES = {
    "LOCAL_V4": "198.18.4.2",
    "REMOTE_V4": "198.18.4.1",
    "LOCAL_V6": "fd5a:c7ae::2",
    "REMOTE_V6": "fd5a:c7ae::1",
}
_PAIR = """
ip netns add {peer}
ip link add {near} numrxqueues 2 numtxqueues 2 type veth \\
    peer name far numrxqueues 2 numtxqueues 2 netns {peer}
ip link set {near} up
ip -n {peer} link set lo up
ip -n {peer} link set far up
ip -n {peer} address add {REMOTE_V4}/24 dev far
ip -n {peer} address add {REMOTE_V6}/64 dev far nodad
"""
_ADDRESSED = """
ip link set card up
ip address add {LOCAL_V4}/24 dev card
ip address add {LOCAL_V6}/64 dev card nodad
"""
_SCRIPTS = {
    "veth": _PAIR.replace("{near}", "card") + _ADDRESSED,
    # A driver that has never heard of zctap: it has no ndo_bpf.
    "macvlan": _PAIR.replace("{near}", "below")
    + "ip link add card link below type macvlan mode private"
    + _ADDRESSED,
}


def tested(wanted: Nic) -> Tested | None:
    """Return what tests are told of the card that make() makes; None if there is to be none."""
    if not wanted.card:
        return None
    names = {"NETIF": "card", "REMOTE_TYPE": "netns", "REMOTE_ARGS": _PEER} | _ADDRESSES
    words = f"{wanted.card}, the other end: a namespace of the guest"
    return Tested(words, names | switches(wanted))


def make(guest: Guest, kind: str, seconds: float) -> None:
    """Make it, within so many seconds. Raises GuestLost, Trouble."""
    script = _SCRIPTS[kind].format(peer=_PEER, **_ADDRESSES)
    guest.start(["bash", "-ec", script], {})
    output, until = b"", time.monotonic() + seconds
    while True:
        what, piece = guest.next(until)
        if what == "output":
            output += piece
        elif what == "exit":
            if int(piece):
                said = output.decode(errors="replace").strip().splitlines()
                raise Trouble(f"the guest cannot make the card: {' '.join(said[-1:])}")
            return
