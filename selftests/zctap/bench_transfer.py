# SPDX-License-Identifier: GPL-2.0
"""A transfer of `bench`: the link brought into shape, and both ends' processes led through it."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from lib.bench.case import BASE, WAYS, Setting, is_most, length
from lib.bench.measurement import Cpu, Measurement
from lib.bench.processors import between, moment
from lib.child import Child
from lib.cpus import allowed
from lib.trouble import Trouble
from lib.zctap import NoZctap
from netns import Unsupported
from netns.dial import AnyLink
from netns.ethtool import set_offload
from selftests.zctap.bench_ends import BOUND, UNBOUND

_PATIENCE = 20.0  # for a transfer, on a fast machine (s)


class Failed(Exception):
    """Something went wrong; a line that says where, and what."""


@contextlib.contextmanager
def failing(where: str) -> Iterator[None]:
    """Make one Failed of whatever goes wrong inside, but for what cannot be had here."""
    try:
        yield
    except (NoZctap, Unsupported, Trouble, PermissionError, Failed):
        raise
    except Exception as error:
        # A child's traceback comes with its failure: its last line says what it was.
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise Failed(f"{where}: {said[-1]}") from error


def heard(child: Child, seconds: float = 5.0) -> str:
    """The next message. Raises RuntimeError if there is none to come, too."""
    text = child.hear(seconds)
    if not text:
        raise RuntimeError(f"process {child.pid} has ended, with {child.wait()}")
    return text


class Bench:
    """The link, and the processes at its ends."""

    def __init__(self, link: AnyLink, rx: Child, tx: Child, kind: tuple[int, bool]) -> None:
        """kind: the MTU, and whether there is TSO, as things are."""
        self.link, self.rx, self.tx = link, rx, tx
        self.ways = [way for way in WAYS if way != "zero-copy" or not link.copies]
        self._cpus = allowed()  # as bench_ends.py shares them out
        (self._mtu, self._tso), self._queue = kind, -1

    def prepare(self, setting: Setting, way: str) -> None:
        """Bring the link into shape."""
        queue = BOUND if way == "zero-copy" else UNBOUND
        # Where all is copied it is so from any queue, and not every card can steer.
        if queue != self._queue and not self.link.copies:
            self.link.steer(queue)
            self._queue = queue
        if setting.mtu != self._mtu:
            for end in (self.link.tx, self.link.rx):
                end.set(mtu=setting.mtu)
            self._mtu = setting.mtu
        if setting.tso != self._tso:
            # TCP makes large ones all the same: without TSO they are cut before the link.
            for name in ("gso", "tso"):
                set_offload(self.link.tx, name, setting.tso)
            self._tso = setting.tso

    def transfer(
        self, setting: Setting, way: str, count: int, what: str, *, profile: bool = False
    ) -> dict[str, Any]:
        """Send that many bytes: what both ends say of it. Raises Failed, which says `what`."""
        with failing(f"{way}, {setting}, {what}"):
            return self._transfer(setting, way, count, profile=profile)

    def _transfer(self, setting: Setting, way: str, count: int, *, profile: bool) -> dict[str, Any]:
        self.prepare(setting, way)
        order = {"way": way, "flows": setting.flows, "profile": profile}
        self.rx.say(json.dumps(order))
        order |= {"port": int(heard(self.rx)), "size": setting.size, "bytes": count}
        self.tx.say(json.dumps(order))
        self.tx.expect("connected")
        self.rx.expect("ready")
        before = moment()
        self.tx.say("go")
        found: dict[str, Any] = json.loads(heard(self.rx, _PATIENCE))
        found |= json.loads(heard(self.tx, _PATIENCE))
        found["machine"] = between(before, moment(), receiver=self._cpus[-1], sender=self._cpus[0])
        if found["bytes"] != count:
            raise RuntimeError(f"{found['bytes']} bytes of {count} arrived")
        return found

    def measure(self, setting: Setting, way: str, number: int, count: int) -> Measurement:
        """A transfer as a measurement."""
        found = self.transfer(setting, way, count, f"round {number + 1}")
        return Measurement(
            way=way,
            setting=setting,
            round=number,
            bytes=count,
            seconds=found["end"] - found["begin"],
            receiver=Cpu(**found["receiver"]),
            sender=Cpu(**found["sender"]),
            machine=found["machine"],
            zero_copy=found.get("zero_copy", 0),
            copied=found.get("copied", 0),
            cqes=found.get("cqes", 0),
            calls=found["calls"],
            writes=found["writes"],
            again=found["again"],
        )

    def calibrate(self, setting: Setting, seconds: float) -> int:
        """How many bytes take so long, by the way that all are compared with.

        By the better of two transfers that are not too short: a machine that is busy makes one
        take longer now and then, none shorter. None is longer than the longest, however fast.
        """
        count, best, enough = length(0, 0, setting), 0.0, 0
        while enough < 2:
            found = self.transfer(setting, BASE, count, "calibration")
            took = found["end"] - found["begin"]
            best = max(best, count / took)
            enough += took >= seconds / 4 or is_most(count)
            count = max(count, length(best, seconds / 2, setting))
        return length(best, seconds, setting)
