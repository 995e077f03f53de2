# SPDX-License-Identifier: GPL-2.0
"""A copy of a user's source tree, kept up to date file by file.

The user's tree is never written to. A copy is made only when the series has to be applied
on top, or when the tree was built in place, which out-of-tree builds refuse.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from lib.vm import cache, patches
from lib.vm.command import run

# What a build in place leaves, where no .gitignore can be asked.
_PRODUCTS = (".o", ".a", ".ko", ".cmd", ".mod", ".mod.c", ".order", ".so", ".dbg")
_GENERATED = ("include/generated", "include/config", "arch/x86/include/generated")


def _files(tree: Path) -> list[str]:
    """Return the paths of a tree's sources, relative to it: with git what git calls so."""
    if (tree / ".git").exists():
        command = ["git", "-C", str(tree), "ls-files", "-z", "-c", "-o", "--exclude-standard"]
        paths = {os.fsdecode(name) for name in run(command).split(b"\0") if name}
        return sorted(path for path in paths if os.path.lexists(tree / path))
    found = []
    for where, directories, names in os.walk(tree):
        below = os.path.relpath(where, tree)
        # As scripts/dtc/include-prefixes has them.
        names += [name for name in directories if os.path.islink(os.path.join(where, name))]
        directories[:] = [
            name
            for name in directories
            if os.path.normpath(os.path.join(below, name)) not in _GENERATED
        ]
        for name in names:
            if not name.endswith(_PRODUCTS) and name not in (".config", "vmlinux"):
                found.append(os.path.normpath(os.path.join(below, name)))
    return sorted(found)


def sync(tree: Path, copy: Path) -> None:
    """Bring `copy` up to date with `tree`; unchanged files keep their mtime.

    Files that a series touches in the copy are left to `patches.update`.
    """
    manifest = copy.with_name(copy.name + ".files.json")
    before: dict[str, list[int]] = {}
    if manifest.is_file() and copy.is_dir():
        before = json.loads(manifest.read_text())
    else:
        cache.need_space(copy.parent, 2 * cache.GIB, "a copy of the tree")
    series_owns = patches.ever_touched(copy)
    now: dict[str, list[int]] = {}
    for name in _files(tree):
        status = os.lstat(tree / name)
        now[name] = [status.st_size, status.st_mtime_ns]
    # First what is gone: a directory may stand now where a file was, or a link.
    for name in before.keys() - now.keys() - series_owns:
        if not _in_the_way(copy, name) and not _is_directory(copy / name):
            (copy / name).unlink(missing_ok=True)
    for name in now:
        if name not in series_owns and before.get(name) != now[name]:
            _make_way(copy, name)
            _copy(tree / name, copy / name)
    patches.write_if_different(manifest, json.dumps(now).encode())


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _in_the_way(copy: Path, name: str) -> Path | None:
    """Return the file or link that stands in the copy where the directory of a name has to be.

    Whoever went on by such a link would come out of the copy, perhaps in the user's tree.
    """
    for parent in reversed(Path(name).parents[:-1]):
        if os.path.lexists(copy / parent) and not _is_directory(copy / parent):
            return copy / parent
    return None


def _make_way(copy: Path, name: str) -> None:
    """Remove what was something else under this name, or above it."""
    if found := _in_the_way(copy, name):
        found.unlink()
    if _is_directory(copy / name):
        shutil.rmtree(copy / name)


def _copy(source: Path, target: Path) -> None:
    """Copy a file or a symbolic link with its mode; its mtime is now, if it changed."""
    if source.is_symlink():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.symlink_to(os.readlink(source))
    elif source.is_file():
        if target.is_symlink():
            target.unlink()
        patches.write_if_different(target, source.read_bytes())
        shutil.copymode(source, target)
