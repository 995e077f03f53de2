# SPDX-License-Identifier: GPL-2.0
"""What one transfer came to, as it travels from a guest: a JSON object."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from lib.bench.case import Setting
from lib.bench.processors import Machine

MIB, GIB = 1 << 20, 1 << 30


@dataclass(frozen=True)
class Cpu:
    """CPU time of a process (s)."""

    user: float
    system: float

    @property
    def total(self) -> float:
        """Both."""
        return self.user + self.system


_PARTS = {"setting": Setting, "receiver": Cpu, "sender": Cpu, "machine": Machine}


@dataclass(frozen=True)
class Measurement:
    """A transfer: `seconds` from the first write until the receiver had it all.

    copied: bytes, of those that came by RECV_ZC. machine: all that ran, sender and receiver
    included. calls: the receiver's; writes: the sender's. again: segments sent again.
    """

    way: str
    setting: Setting
    round: int
    bytes: int
    seconds: float
    receiver: Cpu
    sender: Cpu
    machine: Machine
    zero_copy: int
    copied: int
    cqes: int
    calls: int
    writes: int
    again: int

    def to_json(self) -> str:
        """A line."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, fields: dict[str, object]) -> Measurement:
        """What such a line says. Raises TypeError or ValueError for anything else."""
        parts: dict[str, object] = {**fields}
        for name, kind in _PARTS.items():
            value = parts.get(name)
            if not isinstance(value, dict):
                raise ValueError(f"no {name} in {fields}")
            parts[name] = kind(**value)
        return cls(**parts)  # type: ignore[arg-type]

    @property
    def goodput(self) -> float:
        """MiB/s."""
        return self.bytes / self.seconds / MIB

    def per_gib(self, amount: float) -> float:
        """So much of anything, for each GiB that came."""
        return amount * GIB / self.bytes
