# SPDX-License-Identifier: GPL-2.0
"""Check the project itself: style, types, unit tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from lib.run.suite import ROOT
from lib.say import say

CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("pytest", "-q", "--ignore=tests/guests"),
)
# These boot guests: the kernel must be there.
IN_GUESTS = (("pytest", "-q", "tests/guests"),)


def check(checks: Sequence[tuple[str, ...]] = CHECKS) -> int:
    """Run checks, their output on stderr; return 0 if all passed, else 1."""
    failed = []
    for module, *arguments in checks:
        name = " ".join([module, *arguments])
        say(f"self: {name}")
        command = [sys.executable, "-m", module, *arguments]
        if subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False).returncode:
            failed.append(name)
    if failed:
        say(f"self: failed: {'; '.join(failed)}")
    return 1 if failed else 0
