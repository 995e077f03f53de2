# SPDX-License-Identifier: GPL-2.0
"""A pytest within the tests: run on a folder, with what its plugin writes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

Event = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]


def run(folder: Path, *arguments: str) -> tuple[int, list[Event]]:
    """Run pytest with lib/report/plugin.py in a folder; return its exit status, and the events."""
    read, write = os.pipe()
    command = [sys.executable, "-m", "pytest", "-p", "lib.report.plugin", "-q", "-p", "no:randomly"]
    process = subprocess.Popen(
        [*command, "--continue-on-collection-errors", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "ZCTAP_EVENTS_FD": str(write)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(write,),
    )
    os.close(write)
    with os.fdopen(read) as stream:
        events = [json.loads(line) for line in stream]
    return process.wait(), events
