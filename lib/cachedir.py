# SPDX-License-Identifier: GPL-2.0
"""Where files are kept from run to run."""

from __future__ import annotations

import os
from pathlib import Path

from lib.trouble import Trouble


def root() -> Path:
    """Return the cache's directory, which need not exist yet. Raises Trouble."""
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        place = Path(base) if base else Path.home() / ".cache"
    except RuntimeError as err:
        raise Trouble("no home directory is known: set HOME, or XDG_CACHE_HOME") from err
    # Absolute, as Python tells where its virtual environment is.
    return Path(os.path.abspath(place)) / "zctap-selftests"


def folder(*names: str) -> Path:
    """Return a directory below the root, made if need be. Raises Trouble."""
    path = root().joinpath(*names)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise Trouble(f"cannot create {path}: {err.strerror}; set XDG_CACHE_HOME") from err
    return path
