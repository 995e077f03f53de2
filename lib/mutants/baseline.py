# SPDX-License-Identifier: GPL-2.0
"""What the suite does on the kernel without a mutant: its tests, their durations and promises."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from lib.mutants.log import Suite
from lib.mutants.order import Test
from lib.report.model import GOOD, Result


def of_trials(
    trials: Iterable[tuple[Mapping[str, Result], Mapping[str, list[str]]]],
) -> dict[str, Test]:
    """Return the tests that ran: each trial has results and the ids that tests show."""
    return {
        name: Test(result.duration, frozenset(contract.get(name, ())))
        for results, contract in trials
        for name, result in results.items()
        if result.outcome in GOOD
    }


def store(path: Path, suite: Suite, tests: Mapping[str, Test]) -> None:
    """Write it, whole or not at all."""
    content = {
        "suite": asdict(suite),
        "tests": {name: [test.duration, sorted(test.contract)] for name, test in tests.items()},
    }
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content) + "\n")
    temporary.replace(path)


def load(path: Path, suite: Suite | None) -> dict[str, Test]:
    """Return what was stored, if the suite is the same still (None: whatever it is)."""
    try:
        content = json.loads(path.read_text())
        if suite and content["suite"] != asdict(suite):
            return {}
        return {
            name: Test(float(duration), frozenset(contract))
            for name, (duration, contract) in content["tests"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def latest(folder: Path) -> dict[str, Test]:
    """Return the tests of the last baseline there is."""
    paths = sorted(folder.glob("baseline-*.json"), key=lambda path: path.stat().st_mtime)
    return load(paths[-1], None) if paths else {}
