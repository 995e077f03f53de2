# SPDX-License-Identifier: GPL-2.0
"""Fetch Debian packages without touching the system's own package state.

Sources, keys, proxies and pins are the machine's (/etc/apt); lists and downloads are in
the cache, so that this needs no root and cannot disturb an installed package.
"""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass
from pathlib import Path

from lib.trouble import Trouble
from lib.vm import cache
from lib.vm.command import run


def _options(archives: Path, name: str = "state") -> list[str]:
    """Return apt's options for a machine on which no package is installed.

    `name` is that of a directory: of lists that belong together.
    """
    state = cache.folder("apt", name)
    (state / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (archives / "partial").mkdir(exist_ok=True)
    # Empty, so that apt resolves down to libc6 whatever the host has installed.
    (state / "status").touch()
    settings = {
        "Dir::State": state,
        "Dir::State::Lists": state / "lists",
        "Dir::State::Status": state / "status",
        "Dir::Cache": cache.folder("apt", "cache" if name == "state" else f"{name}-cache"),
        "Dir::Cache::Archives": archives,
        # apt would drop privileges to _apt, who may not enter a cache below /root.
        "APT::Sandbox::User": "root",
        "APT::Keep-Downloaded-Packages": "true",
        "Acquire::Retries": "2",
    }
    words = ["-q"]
    for name, value in settings.items():
        words += ["-o", f"{name}={value}"]
    return words


def fetch(names: list[str], where: Path, *, dependencies: bool) -> list[Path]:
    """Download packages into `where` and return the .deb files.

    With `dependencies` also all that they need, down to the C library. Raises Trouble.
    """
    with cache.lock("apt"):  # apt-get does not wait for another one
        return _fetch(names, where, dependencies=dependencies)


def _fetch(names: list[str], where: Path, *, dependencies: bool) -> list[Path]:
    options = _options(where)
    if dependencies:
        what = ["-y", "--no-install-recommends", "--download-only", "install", *names]
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


# Lists older than this (s) may not know the newest kernel.
_FRESH = 24 * 3600.0
_FIELD = re.compile(r"^(Package|Version|Depends): (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Package:
    """A package of a list; `needs` is what it says that it depends on."""

    name: str
    version: str
    needs: str = ""


class Lists:
    """The packages of sources that are not the machine's own; nothing is ever installed."""

    def __init__(self, name: str, sources: str) -> None:
        """`name` is that of a directory in the cache, `sources` what a sources.list has."""
        state = cache.folder("apt", name)
        self._options = _options(state, name)
        file = self._file = state / "sources.list"
        changed = not file.is_file() or file.read_text() != sources
        old = not changed and time.time() - file.stat().st_mtime > _FRESH
        for setting in (
            f"Dir::Etc::SourceList={file}",
            "Dir::Etc::SourceParts=/dev/null",
            # A package of the same name may be in several suites: the newest is meant.
            "Dir::Etc::Preferences=/dev/null",
            "Dir::Etc::PreferencesParts=/dev/null",
            "Acquire::Languages=none",
        ):
            self._options += ["-o", setting]
        if changed:
            file.write_text(sources)
            try:
                self.update()
            except Trouble:
                # Else the next run would take what is not there for empty lists.
                file.unlink()
                raise
        elif old:
            # Without a network the lists of last time have to do.
            with contextlib.suppress(Trouble):
                self.update()

    def update(self) -> None:
        """Fetch the lists. Raises Trouble."""
        run(["apt-get", *self._options, "-o", "APT::Update::Error-Mode=any", "update"])
        self._file.touch()

    def names(self, prefix: str) -> list[str]:
        """Return the packages whose names begin so and that are not just names."""
        return [package.name for package in self.packages(prefix)]

    def packages(self, prefix: str) -> list[Package]:
        """Return the packages whose names begin so, each in its newest version."""
        names = run(["apt-cache", *self._options, "pkgnames", prefix]).decode().split()
        words = ["apt-cache", *self._options, "--no-all-versions", "show", *names]
        shown = run(words).decode() if names else ""
        found = []
        for stanza in filter(None, shown.split("\n\n")):
            fields = dict(_FIELD.findall(stanza))
            # Those that exist only by name have no version.
            if "Version" in fields:
                needs = fields.get("Depends", "")
                found.append(Package(fields["Package"], fields["Version"], needs))
        return found

    def download(self, name: str, version: str, where: Path) -> None:
        """Fetch a package into a directory, if the lists are old with new ones. Raises Trouble."""
        words = ["apt-get", *self._options, "download", f"{name}={version}"]
        try:
            run(words, cwd=where)
        except Trouble:
            self.update()
            try:
                run(words, cwd=where)
            except Trouble as err:
                said = str(err).rsplit(" | ", 1)[-1]
                raise Trouble(f"{name} {version} cannot be fetched: {said}") from err
