# SPDX-License-Identifier: GPL-2.0
"""On which CPU a device's packets are received (Documentation/networking/scaling.rst, RPS)."""

import ctypes
import os
from pathlib import Path

from lib.child import Child, Hear, Say
from netns.link import End

_CLONE_NEWNS = 0x20000
_MS_REC_PRIVATE = 0x4000 | 1 << 18
_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    if _libc[name](*arguments):
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


def mask(cpu: int) -> str:
    """That CPU alone, as bitmap_parse() has it: words of 32 bits with commas between them."""
    return f"{1 << cpu % 32:x}" + ",00000000" * (cpu // 32)


def receive_on(end: End, cpu: int) -> bool:
    """Have that CPU take in what arrives at the device; False where the kernel has no RPS.

    Without it a veth's packets are taken in where they were sent, on the CPU time of whoever
    runs there. Where a queue has NAPI its poll stays there, and with it what the driver does with
    a frame; what it passes on is moved (net/core/dev.c: netif_receive_skb_list_internal()). Raises
    RuntimeError.
    """

    def body(say: Say, _hear: Hear) -> None:
        # sysfs shows the devices of the namespace that it was mounted in.
        with end.ns.entered():
            _call("unshare", _CLONE_NEWNS)
            _call("mount", None, b"/", None, _MS_REC_PRIVATE, None)
            _call("mount", b"sysfs", b"/sys", b"sysfs", 0, None)
            queues = list(Path(f"/sys/class/net/{end.ifname}/queues").glob("rx-*/rps_cpus"))
            for queue in queues:
                queue.write_text(mask(cpu))
        say(str(len(queues)))

    with Child(body) as child:
        return int(child.hear()) > 0
