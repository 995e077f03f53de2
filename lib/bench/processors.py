# SPDX-License-Identifier: GPL-2.0
"""How busy the processors are, by /proc/stat (proc(5))."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_IDLE, _IOWAIT, _STEAL = 3, 4, 7  # columns


@dataclass(frozen=True)
class Moment:
    """A time (s), and for how long each CPU was idle by then, and all were stolen."""

    at: float
    idle: dict[int, float]
    stolen: float


@dataclass(frozen=True)
class Machine:
    """Time (s) for which CPUs were busy while so much went by: all, the receiver's, the sender's.

    By the time that they were not idle, as a busy host takes timer interrupts from its guests, by
    which the rest of the line is counted. So interrupts are in it, and what the host has stolen.
    """

    elapsed: float
    cpus: int
    busy: float
    receiver: float
    sender: float
    stolen: float

    @property
    def receiver_share(self) -> float:
        """Of the time, that the receiver's CPU was busy."""
        return self.receiver / self.elapsed

    @property
    def sender_share(self) -> float:
        """Of the time, that the sender's CPU was busy."""
        return self.sender / self.elapsed

    @property
    def stolen_share(self) -> float:
        """Of all CPUs' time."""
        return self.stolen / self.elapsed / self.cpus


def moment() -> Moment:
    """Now."""
    return read(Path("/proc/stat").read_text(), time.monotonic())


def read(text: str, at: float) -> Moment:
    """What /proc/stat says."""
    idle, stolen = {}, 0.0
    for line in text.splitlines():
        name, *words = line.split()
        if name == "cpu":
            stolen = int(words[_STEAL]) / _TICK
        elif name.startswith("cpu"):
            idle[int(name[3:])] = (int(words[_IDLE]) + int(words[_IOWAIT])) / _TICK
    return Moment(at, idle, stolen)


def between(before: Moment, after: Moment, *, receiver: int, sender: int) -> Machine:
    """What has gone by; these are the numbers of the ends' CPUs."""
    elapsed = after.at - before.at
    # Idle time comes in ticks of 10 ms, so this may be a little less than nothing.
    busy = {cpu: elapsed - (after.idle[cpu] - before.idle[cpu]) for cpu in before.idle}
    return Machine(
        elapsed=elapsed,
        cpus=len(busy),
        busy=sum(busy.values()),
        receiver=busy[receiver],
        sender=busy[sender],
        stolen=after.stolen - before.stolen,
    )
