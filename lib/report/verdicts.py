# SPDX-License-Identifier: GPL-2.0
"""The last verdict of each test, kept on disk for each kernel and profile.

A file is a JSON object: `kernel` and `profile` for people, `tests`: id -> verdict. A run
replaces the verdicts of the tests that ran, and leaves all others.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from lib.report.model import Result

# Never ran: their last verdict is still the one before.
DID_NOT_RUN = ("not run", "interrupted", "no guest")


@dataclass(frozen=True)
class Verdict:
    """What a test said when it last ran."""

    outcome: str
    when: str  # YYYY-MM-DD HH:MM:SS, UTC
    duration: float  # s
    reason: str
    source: str  # hash of its module then
    kernel: str  # uname -r


def source_hash(content: bytes) -> str:
    """Return what tells one state of a module from another."""
    return hashlib.sha256(content).hexdigest()[:16]


def load(path: Path) -> dict[str, Verdict]:
    """Return test -> verdict; what is not there, or damaged, is no verdict."""
    try:
        tests = json.loads(path.read_text())["tests"]
        return {name: Verdict(**fields) for name, fields in tests.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def merged(
    old: dict[str, Verdict],
    results: Iterable[Result],
    sources: dict[str, str],
    *,
    when: str,
    kernel: str,
) -> dict[str, Verdict]:
    """Return `old` with the results of a run; `sources` are the modules' hashes at its start.

    Tests of modules that are not the suite's own are left out.
    """
    new = dict(old)
    for result in results:
        source = sources.get(result.module)
        if source is not None and result.outcome not in DID_NOT_RUN:
            fields = (result.outcome, when, result.duration, result.reason, source, kernel)
            new[result.id] = Verdict(*fields)
    # A test that was renamed or removed comes to no verdict ever again.
    return {name: verdict for name, verdict in new.items() if name.split("::", 1)[0] in sources}


def store(path: Path, tests: dict[str, Verdict]) -> None:
    """Write them, whole or not at all."""
    content = {"tests": {name: asdict(verdict) for name, verdict in sorted(tests.items())}}
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    temporary.replace(path)
