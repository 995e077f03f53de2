# SPDX-License-Identifier: GPL-2.0
"""What is known of a bisection, on disk after every step: it can be interrupted at any time."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Step:
    """A commit that was judged: "good", "bad" or "skip", and why; seconds."""

    commit: str
    title: str
    word: str
    why: str
    seconds: float


@dataclass
class State:
    """The ends of a bisection, and what has been found out."""

    good: str
    bad: str
    # The tests that fail on `bad`; None: not known yet. Empty: the guest is lost before any.
    failing: list[str] | None = None
    good_is_good: bool = False
    steps: list[Step] = field(default_factory=list)

    def store(self, path: Path) -> None:
        """Write it, whole or not at all."""
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(asdict(self), indent=1) + "\n")
        temporary.replace(path)


def load(path: Path) -> State | None:
    """Return what was stored; None if there is nothing, or it is damaged."""
    try:
        fields = json.loads(path.read_text())
        steps = [Step(**step) for step in fields.pop("steps")]
        return State(**fields, steps=steps)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
