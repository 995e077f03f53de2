# SPDX-License-Identifier: GPL-2.0
"""Binding a region to an RX queue of a network device."""

from lib.uring import Ring
from lib.zctap.abi import IfqReq
from lib.zctap.debugfs import Debugfs, Entry
from lib.zctap.probe import Zctap
from lib.zerocopy import Region


def register_ifq(ring: Ring, zctap: Zctap, req: IfqReq | int | None, nr_args: int = 1) -> None:
    """The bare call, for any argument (a structure, an address, None). Raises OSError.

    The device is looked up in the calling thread's network namespace.
    """
    ring.register(zctap.register_ifq, req, nr_args)


def unregister_ifq(ring: Ring, zctap: Zctap, req: IfqReq | int | None, nr_args: int = 1) -> None:
    """The bare call. Raises OSError, and NotImplementedError on a kernel that lacks it."""
    if zctap.unregister_ifq is None:
        raise NotImplementedError("this kernel unregisters an ifq only with its ring")
    ring.register(zctap.unregister_ifq, req, nr_args)


class Ifq:
    """An interface queue: registered on creation, unregistered by close() or with its ring.

    `entry` is its directory in debugfs, None where there is none. Raises OSError.
    """

    def __init__(
        self,
        ring: Ring,
        zctap: Zctap,
        region: Region,
        *,
        ifindex: int,
        queue_id: int,
        fill_bgid: int,
    ) -> None:
        self.ring, self.zctap, self.region = ring, zctap, region
        self.id, self.fill_bgid = 0, fill_bgid
        self.request = IfqReq(
            ifindex=ifindex, queue_id=queue_id, fill_bgid=fill_bgid, region_id=region.index
        )
        debugfs = Debugfs()
        before = debugfs.newest()
        register_ifq(ring, zctap, self.request)
        self._open = True
        region.held.clear()  # BUF-1: every page begins on the freelist, without references
        entry = debugfs.newest()
        self.entry: Entry | None = entry if entry and entry.newer(before) else None

    @property
    def registered(self) -> bool:
        """Whether it should be: not closed, nor its ring."""
        return self._open and self.ring.fd >= 0

    def close(self) -> None:
        """Unregister, if the kernel can do that and the ring has not done it already."""
        if self.registered and self.zctap.unregister_ifq is not None:
            unregister_ifq(self.ring, self.zctap, IfqReq(ifq_id=self.id))
        self._open = False

    def ended(self) -> None:
        """It has been unregistered by the bare call."""
        self._open = False

    def __enter__(self) -> "Ifq":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
