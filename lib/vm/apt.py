# SPDX-License-Identifier: GPL-2.0
"""Fetch Debian packages without touching the system's own package state.

Sources, keys, proxies and pins are the machine's (/etc/apt); lists and downloads are in
the cache, so that this needs no root and cannot disturb an installed package.
"""

from __future__ import annotations

from pathlib import Path

from lib.trouble import Trouble
from lib.vm import cache
from lib.vm.command import run


def _options(archives: Path) -> list[str]:
    """Return apt's options for a machine on which no package is installed."""
    state = cache.folder("apt", "state")
    (state / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (archives / "partial").mkdir(exist_ok=True)
    # Empty, so that apt resolves down to libc6 whatever the host has installed.
    (state / "status").touch()
    settings = {
        "Dir::State": state,
        "Dir::State::Lists": state / "lists",
        "Dir::State::Status": state / "status",
        "Dir::Cache": cache.folder("apt", "cache"),
        "Dir::Cache::Archives": archives,
        # apt would drop privileges to _apt, who may not enter a cache below /root.
        "APT::Sandbox::User": "root",
        "APT::Keep-Downloaded-Packages": "true",
        "Acquire::Retries": "2",
    }
    words = ["-q", "-y"]
    for name, value in settings.items():
        words += ["-o", f"{name}={value}"]
    return words


def fetch(names: list[str], where: Path, *, dependencies: bool) -> list[Path]:
    """Download packages into `where` and return the .deb files.

    With `dependencies` also all that they need, down to the C library. Raises Trouble.
    """
    options = _options(where)
    if dependencies:
        what = ["--no-install-recommends", "--download-only", "install", *names]
    else:
        what = ["download", *names]
    try:
        run(["apt-get", *options, *what], cwd=where)
    except Trouble:
        # No lists yet, or lists older than the mirror.
        run(["apt-get", *options, "update"], cwd=where)
        run(["apt-get", *options, *what], cwd=where)
    files = sorted(where.glob("*.deb"))
    if not files:
        raise Trouble(f"apt-get fetched nothing for {' '.join(names)}; see /etc/apt/sources.list")
    return files
