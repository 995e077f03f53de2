# SPDX-License-Identifier: GPL-2.0
"""Where a kernel's source comes from: Debian's package, or a tree of the user's."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lib.trouble import Trouble
from lib.vm import apt, cache, mirror, patches
from lib.vm.command import run

PACKAGE = "linux-source-6.1"
SERIES = Path(__file__).resolve().parents[2] / "kernel" / "zctap"
# Unpacked 1.3 GiB; an object folder is 0.3 (plain) to 2 GiB (debug).
_SPACE = 4 * cache.GIB


@dataclass(frozen=True)
class Source:
    """What can be built."""

    name: str  # of the build folder
    version: str  # for people: 6.1.192-2 + 14 patches
    key: str | None  # of the content; None if only make can tell what changed
    reference: bool  # ours: each option of the fragments must exist in it
    path: Path
    # What the tree has to be at, and how it gets there. None: it is the user's own.
    state: str | None = None
    prepare: Callable[[], None] = lambda: None
    # What the files were before our series; None: it is not in the tree, as far as we know.
    pristine: patches.Pristine | None = None

    @contextmanager
    def tree(self) -> Iterator[tuple[Path, int]]:
        """Give the tree, which stays as it is meanwhile, and the descriptor of its lock.

        Several may build from one tree at a time, if they want the same of it.
        """
        stamp = self.path.with_name(self.path.name + ".state")
        while self.state:
            with cache.lock(f"source-{self.name}", shared=True) as held:
                if stamp.is_file() and stamp.read_text() == self.state:
                    yield self.path, held
                    return
            with cache.lock(f"source-{self.name}"):
                stamp.unlink(missing_ok=True)
                self.prepare()
                stamp.write_text(self.state)
        with cache.lock(f"source-{self.name}", shared=True) as held:
            yield self.path, held


def debian() -> Source:
    """Return Debian's kernel with our series applied. Raises Trouble.

    The source is the one installed in /usr/src, else the one fetched before, else it is
    fetched.
    """
    with cache.lock("unpack"):
        version, tree = _unpacked_or_new()
    series = patches.series(SERIES)

    def prepare() -> None:
        patches.update(tree, series, patches.Originals(tree))

    key = cache.key_of(version, patches.series_key(series))
    return Source(
        name=tree.name,
        version=f"{version} + {len(series)} patches",
        key=key,
        reference=True,
        path=tree,
        state=key,
        prepare=prepare,
        pristine=patches.Originals(tree),
    )


def at_hand() -> bool:
    """Whether debian() has nothing to fetch or unpack."""
    return bool(_unpacked())


def _unpacked() -> list[Path]:
    unpacked = cache.folder("source").glob("debian-*")
    return [path for path in unpacked if (path / "Makefile").is_file() and path.suffix != ".orig"]


def _unpacked_or_new() -> tuple[str, Path]:
    """Return version and path of an unpacked linux-source."""
    tarball = Path("/usr/src", f"{PACKAGE}.tar.xz")
    if tarball.is_file():
        version = run(["dpkg-query", "-W", "-f", "${Version}", PACKAGE]).decode()
        tree = cache.folder("source") / f"debian-{version}"
        return version, tree if tree.is_dir() else _unpack(tarball, tree)
    if known := _unpacked():
        tree = max(known, key=lambda path: path.stat().st_mtime)
        return tree.name.removeprefix("debian-"), tree
    fetched = cache.mine("source")
    fetched.mkdir(exist_ok=True)
    try:
        package = apt.fetch([PACKAGE], fetched, dependencies=False)[0]
        version = run(["dpkg-deb", "-f", package, "Version"]).decode().strip()
        run(["dpkg-deb", "-x", package, fetched])
        tarball = fetched / "usr" / "src" / f"{PACKAGE}.tar.xz"
        return version, _unpack(tarball, cache.folder("source") / f"debian-{version}")
    finally:
        shutil.rmtree(fetched, ignore_errors=True)


def _unpack(tarball: Path, tree: Path) -> Path:
    """Unpack a source archive whose files are below one directory."""
    cache.need_space(tree.parent, _SPACE, "the kernel's source and build")
    staging = cache.mine("unpack")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        run(["tar", "-xf", tarball, "-C", staging, "--strip-components=1"])
        staging.rename(tree)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return tree


def of_tree(tree: Path, *, with_series: bool) -> Source:
    """Return a user's tree, built as it is on disk, commits and all else. Raises Trouble.

    It is built from where it is. Only to apply the series, or if it was built in place, a
    copy in the cache is used.
    """
    try:
        tree = tree.resolve()
        there = tree.is_dir()
    except OSError as err:
        raise Trouble(f"--tree {tree}: {err.strerror}") from err
    except RuntimeError as err:
        raise Trouble(f"--tree {tree}: too many levels of symbolic links") from err
    if not there:
        raise Trouble(f"--tree {tree}: there is no such directory")
    if not ((tree / "Kbuild").is_file() and (tree / "Kconfig").is_file()):
        raise Trouble(f"--tree {tree}: not a kernel source tree (no Kbuild, no Kconfig)")
    name = f"tree-{tree.name}-{hashlib.sha256(os.fsencode(tree)).hexdigest()[:8]}"
    version = _version(tree)
    if not with_series and not _built_in_place(tree):
        return Source(name=name, version=version, key=None, reference=False, path=tree)
    series = patches.series(SERIES) if with_series else []
    copy = cache.folder("source") / name

    def prepare() -> None:
        mirror.sync(tree, copy)
        patches.update(copy, series, lambda file: _content(tree / file))

    return Source(
        name=name,
        version=f"{version} + {len(series)} patches" if with_series else version,
        key=None,
        reference=False,
        path=copy,
        # Of no run but this one: the user's files may have changed since the last.
        state=os.urandom(8).hex(),
        prepare=prepare,
        pristine=(lambda file: _content(tree / file)) if with_series else None,
    )


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _built_in_place(tree: Path) -> bool:
    """The kernel's own test for a tree that out-of-tree builds refuse."""
    generated = tree / "arch" / "x86" / "include" / "generated"
    return (
        (tree / ".config").exists() or (tree / "include" / "config").is_dir() or generated.is_dir()
    )


def _version(tree: Path) -> str:
    """Return `git describe` or, outside of git, the Makefile's version."""
    if (tree / ".git").exists():
        done = subprocess.run(
            ["git", "-C", str(tree), "describe", "--always", "--dirty"],
            # It would write down in the tree what it has seen of the files.
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return done.stdout.strip()
    try:
        text = (tree / "Makefile").read_text()[:400]
    except OSError as err:
        raise Trouble(f"--tree {tree}: cannot read its Makefile: {err.strerror}") from err
    numbers = re.findall(r"^(?:VERSION|PATCHLEVEL|SUBLEVEL) = (\d+)", text, re.MULTILINE)
    return ".".join(numbers) or "unknown version"
