# SPDX-License-Identifier: GPL-2.0
"""Debian's kernel packages: found by version, fetched, unpacked into the cache.

They come from the mirror that the machine itself uses, but from more of its suites: a machine
with the stable release can test the kernel of the next.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cmp_to_key
from pathlib import Path

from lib.say import say
from lib.trouble import Trouble
from lib.vm import apt, cache
from lib.vm.apt import Package
from lib.vm.command import run

# Beside those that the machine has: what a kernel is wanted from that is newer than it.
SUITES = ("bookworm", "trixie", "trixie-backports", "sid")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# linux-image-6.1.0-40-amd64, linux-image-7.3.4+deb13-amd64; neither -rt-, -cloud- nor -dbg.
_IMAGE = re.compile(r"linux-image-(\d[0-9.]*(?:-\d+|\+deb\d+)?)-amd64")
_SPACE = 2 * cache.GIB
_KEEP = 4


@dataclass(frozen=True)
class Unpacked:
    """A kernel package and what it has; `place` is where its root is."""

    version: str  # for people
    image: Path
    place: Path


def kernel(wanted: str) -> Unpacked:
    """Return the newest kernel package of a version.

    `wanted` is "6.1", "7.3.4+deb13" or the like, or a package's whole name. Raises Trouble.
    """
    with cache.lock("debian"):
        lists = _lists()
        package = _newest(wanted, lists)
        key = cache.key_of(package.name, package.version)
        if not cache.entry("debian", key):
            say(f"kernel: fetching Debian's {package.name} {package.version}")
            cache.need_space(cache.folder("debian"), _SPACE, "a Debian kernel")
            with cache.publish("debian", key) as staging:
                _unpack(package, lists, staging)
            cache.prune("debian", _KEEP)
    found = cache.entry("debian", key)
    if not found:
        raise Trouble(f"the Debian kernel vanished from {cache.root()}")
    # In newer packages it is beside the modules.
    images = [*found.glob("boot/vmlinuz-*"), *found.glob("usr/lib/modules/*/vmlinuz")]
    if not images:
        raise Trouble(f"--debian {wanted}: {package.name} {package.version} has no kernel in it")
    return Unpacked(f"Debian {package.name} {package.version}", images[0], found)


def _lists() -> apt.Lists:
    """Return the lists of the machine's mirror for SUITES, fetched if there are none yet."""
    uri = _mirror()
    if not KEYRING.is_file():
        raise Trouble(f"--debian: no {KEYRING}; apt-get install debian-archive-keyring")
    lines = [f"deb [signed-by={KEYRING}] {uri} {suite} main" for suite in SUITES]
    return apt.Lists("kernels", "\n".join(lines) + "\n")


def _mirror() -> str:
    """Return the address that the machine's own packages come from. Raises Trouble."""
    words = ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)"]
    try:
        targets = run([*words, "Created-By: Packages"]).decode().splitlines()
    except Trouble as err:
        raise Trouble(f"--debian needs a Debian machine with apt: {err}") from err
    # Not the security archive, which has a label of its own.
    own = [line.split("|")[2] for line in targets if line.startswith("Debian|Debian|")]
    if not own:
        raise Trouble("--debian: no Debian mirror among apt's sources (after apt-get update)")
    return own[0]


def matching(wanted: str, packages: list[Package]) -> list[Package]:
    """Return the kernels that `wanted` means: a package's name, or how its version begins.

    Both versions are good, that of the name (6.1.0-40) and that of the package (6.1.176-1).
    """
    start = re.compile(re.escape(wanted) + r"(?![0-9])")
    found = []
    for package in packages:
        if match := _IMAGE.fullmatch(package.name):
            versions = (match[1], package.version)
            if wanted == package.name or any(map(start.match, versions)):
                found.append(package)
    return found


def _newest(wanted: str, lists: apt.Lists) -> Package:
    """Return the newest of the packages that are meant. Raises Trouble."""
    packages = _whole(lists)
    if not (found := matching(wanted, packages)):
        # Since the lists were fetched there may be newer ones.
        lists.update()
        packages = _whole(lists)
        found = matching(wanted, packages)
    if not found:
        raise Trouble(f"--debian {wanted}: no such kernel; there are {', '.join(series(packages))}")
    return max(found, key=cmp_to_key(_compare))


def _whole(lists: apt.Lists) -> list[Package]:
    """Return the kernels that are there with all their parts: suites keep some without."""
    there = {*lists.names("linux-binary-"), *lists.names("linux-modules-")}
    return [
        package for package in lists.packages("linux-image-") if there.issuperset(_parts(package))
    ]


def _parts(package: Package) -> list[str]:
    """Return the packages of the same build that one consists of: none, or image and modules."""
    release = re.escape(package.name.removeprefix("linux-image-"))
    found = re.findall(rf"linux-(?:binary|modules)-{release}(?![\w.+-])", package.needs)
    return list(dict.fromkeys(found))


def series(packages: list[Package]) -> list[str]:
    """Return what one might ask for: 6.1, 6.12, 7.3."""
    numbers = set()
    for package in packages:
        if match := _IMAGE.fullmatch(package.name):
            major, minor = re.findall(r"\d+", match[1])[:2]
            numbers.add((int(major), int(minor)))
    return [f"{major}.{minor}" for major, minor in sorted(numbers)]


def _compare(one: Package, other: Package) -> int:
    """Return which of two packages has the newer version: 1, 0, -1."""
    for relation, answer in (("gt", 1), ("lt", -1)):
        words = ["dpkg", "--compare-versions", one.version, relation, other.version]
        if subprocess.run(words, check=False).returncode == 0:
            return answer
    return 0


def _unpack(package: Package, lists: apt.Lists, target: Path) -> None:
    """Unpack the package and its parts."""
    archives = target / "archives"
    archives.mkdir()
    for part in [package.name, *_parts(package)]:
        lists.download(part, package.version, archives)
    for archive in sorted(archives.glob("*.deb")):
        run(["dpkg-deb", "-x", archive, target])
    shutil.rmtree(archives)
