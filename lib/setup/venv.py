# SPDX-License-Identifier: GPL-2.0
"""The virtual environment that everything but the start of run_tests.py runs in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from lib.say import say
from lib.trouble import Trouble
from lib.vm import cache

_HERE = Path(__file__).parent
REQUIREMENTS = (_HERE / "guest.txt", _HERE / "host.txt")


def _key() -> str:
    # Not the full version: the packages just installed may have brought a newer one.
    return cache.key_of(str(sys.version_info[:2]), sys.executable, *REQUIREMENTS)


def python() -> Path | None:
    """Return the environment's interpreter, or None if it has to be made."""
    found = cache.entry("venv", _key())
    return found / "bin" / "python" if found else None


def active() -> bool:
    """Whether this process runs in it: then its key cannot be asked for any more."""
    return Path(sys.prefix).parent == cache.root() / "venv"


def packages() -> list[str]:
    """Return the pinned requirements, for people."""
    lines = "".join(path.read_text() for path in REQUIREMENTS).splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-"))]


def create() -> Path:
    """Make the environment and return its interpreter. Raises Trouble."""
    say(f"setup: installing Python packages: {' '.join(packages())}")
    cache.need_space(cache.folder("venv"), cache.GIB // 4, "the virtual environment")
    with cache.publish("venv", _key()) as staging:
        _run([sys.executable, "-m", "venv", str(staging)])
        pip = [str(staging / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        pip += ["--disable-pip-version-check", "--only-binary", ":all:"]
        for path in REQUIREMENTS:
            pip += ["-r", str(path)]
        _run(pip)
    cache.prune("venv", keep=3)
    made = python()
    if not made:
        raise Trouble(f"the virtual environment vanished from {cache.root()}")
    return made


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise Trouble(f"cannot make the virtual environment: {said[-1]}")
