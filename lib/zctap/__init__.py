# SPDX-License-Identifier: GPL-2.0
"""The user's view of zctap. docs/lib.md goes through it, with selftests/zctap/demo.py.

zctap = probe()                              # or NoZctap, with the reason
with Ring() as ring, Region(64) as region:
    region.register(ring)
    fill = FillRing(ring, FILL, region)      # before the ifq
    copy = CopyRing(ring, COPY)
    ifq = Ifq(ring, zctap, region, ifindex=3, queue_id=1, fill_bgid=FILL)
    receiver = Receiver(ring, zctap, sock, region=region, copy=copy, fill=fill)
    while chunks := receiver.receive():
        for chunk in chunks:
            use(chunk.data)                  # a view of where the kernel put it
        receiver.give_back(chunks)
"""

from lib.zctap.abi import IfqReq, addr3
from lib.zctap.debugfs import Accounting, Counters, Debugfs, Entry, State
from lib.zctap.drain import Drain, Drained
from lib.zctap.ifq import Ifq, register_ifq, unregister_ifq
from lib.zctap.probe import NoZctap, Zctap, probe
from lib.zctap.receiver import ContractError, Received, Receiver
from lib.zctap.rest import unrest, wait_at_rest, wait_gone
from lib.zctap.rings import CopyRing, FillRing
from lib.zctap.sampler import Sample, Sampler

__all__ = [
    "Accounting",
    "ContractError",
    "CopyRing",
    "Counters",
    "Debugfs",
    "Drain",
    "Drained",
    "Entry",
    "FillRing",
    "Ifq",
    "IfqReq",
    "NoZctap",
    "Received",
    "Receiver",
    "Sample",
    "Sampler",
    "State",
    "Zctap",
    "addr3",
    "probe",
    "register_ifq",
    "unregister_ifq",
    "unrest",
    "wait_at_rest",
    "wait_gone",
]
