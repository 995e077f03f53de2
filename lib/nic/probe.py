# SPDX-License-Identifier: GPL-2.0
"""Whether a driver does zctap: a queue is bound to a scratch region for a moment.

That is no question but a change: drivers stop the queue and refill its ring.
"""

from __future__ import annotations

import errno
import os

from lib.nic import ethtool
from lib.nic.device import Device
from lib.uring import Ring
from lib.zctap import Ifq, NoZctap, probe
from lib.zerocopy import Region

_PAGES = 64
_NO_GROUP = 1  # a group that is not registered: nothing is ever given back
_MEANING = {
    errno.EINVAL: "the driver does not know XDP_SETUP_ZCTAP",
    errno.EBUSY: "the queue is bound already, or an XDP program is attached",
    errno.EPERM: "it takes CAP_NET_ADMIN",
    errno.ENOMEM: "no memory may be locked (ulimit -l)",
}


def ask(device: Device) -> str:
    """Bind the last queue and let go of it; "yes ..." or "no: ..." with the reason."""
    try:
        queue = max(ethtool.channels(device.ask)[0].receiving - 1, 0)
    except OSError:
        queue = 0
    why = refusal(device, queue)
    return f"no: {why}" if why else f"yes, queue {queue} can be bound"


def refusal(device: Device, queue: int) -> str:
    """Bind a queue and let go of it: why that cannot be done, "" if it can."""
    try:
        zctap = probe()
    except NoZctap as error:
        return str(error)
    try:
        with Ring() as ring, Region(_PAGES) as region:
            region.register(ring)
            place = {"ifindex": device.ifindex, "queue_id": queue, "fill_bgid": _NO_GROUP}
            with Ifq(ring, zctap, region, **place):
                return ""
    except NotImplementedError as error:
        return f"io_uring of this kernel is too old: {error}"
    except OSError as error:
        code = error.errno or 0
        name = errno.errorcode.get(code, str(code))
        return f"{_MEANING.get(code, os.strerror(code))} ({name}, queue {queue})"
