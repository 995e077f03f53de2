# SPDX-License-Identifier: GPL-2.0
"""A device that is made in a guest, and tested there as if it were a card."""

from __future__ import annotations

from lib.run.joined import Joined, run_script, with_card
from lib.run.nic_options import Nic
from lib.run.tested import Tested, switches
from lib.vm.guest import Guest
from lib.vm.machine import Machine

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


# By the names of QEMU. The other end is another guest, which ssh reaches.
_EMULATED = {"virtio-net": "virtio-net-pci", "e1000e": "e1000e"}
_UP = """
ip link set eth0 up
for _ in {{1..200}}; do
    [[ $(< /sys/class/net/eth0/carrier) == 1 ]] && break
    sleep 0.1
done
ip address add {v4}/24 dev eth0
ip address add {v6}/64 dev eth0 nodad
mkdir -p /root/.ssh
chmod 700 /root/.ssh
"""
_KEYS = """
ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
ssh-keygen -q -t ed25519 -N '' -f /run/hostkey
cp /root/.ssh/id_ed25519.pub /root/.ssh/authorized_keys
mkdir -p /run/sshd
"""
_SSHD = "exec /usr/sbin/sshd -D -e -f /dev/null -h /run/hostkey -o UsePAM=no"
_LISTENING = b"Server listening on 0.0.0.0"
_CLIENT = """
chmod 600 /root/.ssh/id_ed25519
echo StrictHostKeyChecking accept-new > /root/.ssh/config
"""


def fitted(machine: Machine, wanted: Nic) -> Machine:
    """Return the machine with the card in it, if that is one of QEMU's."""
    nic = _EMULATED.get(wanted.card)
    return with_card(machine, nic) if nic else machine


def tested(wanted: Nic) -> Tested | None:
    """Return what tests are told of the card that make() makes; None if there is to be none."""
    if not wanted.card:
        return None
    if wanted.card in _EMULATED:
        names = {"NETIF": "eth0", "REMOTE_TYPE": "ssh"}
        names["REMOTE_ARGS"] = f"root@{_ADDRESSES['REMOTE_V4']}"
        words = f"{wanted.card}, as QEMU has it; the other end: another guest, by ssh"
    else:
        names = {"NETIF": "card", "REMOTE_TYPE": "netns", "REMOTE_ARGS": _PEER}
        words = f"{wanted.card}; the other end: a namespace of the guest"
    return Tested(words, names | _ADDRESSES | switches(wanted))


def make(guest: Guest, kind: str, seconds: float) -> None:
    """Make it, each step within so many seconds. Raises GuestLost, Trouble."""
    if not isinstance(guest, Joined):
        run_script(guest, _SCRIPTS[kind].format(peer=_PEER, **_ADDRESSES), seconds)
        return
    other, end = guest.other, _ADDRESSES
    up = _UP.format(v4=end["REMOTE_V4"], v6=end["REMOTE_V6"])
    run_script(other, up + _KEYS, seconds)
    key = other.get("/root/.ssh", "id_ed25519")
    run_script(other, _SSHD, seconds, until=_LISTENING)
    guest.put(key, "/root/.ssh")
    run_script(guest, _UP.format(v4=end["LOCAL_V4"], v6=end["LOCAL_V6"]) + _CLIENT, seconds)
