# SPDX-License-Identifier: GPL-2.0
"""Apply a patch series to an unpacked tree so that make rebuilds only what changed.

The series is applied beside the tree, to pristine copies of the files it touches; then
those files whose content differs are replaced. All others keep their mtime.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from lib.trouble import Trouble
from lib.vm import cache
from lib.vm.command import run

# Gives a file's content without the series, or None if it has no such file.
Pristine = Callable[[str], bytes | None]
# Path -> content, None for no such file: what to write instead.
Change = Callable[[dict[str, bytes | None]], dict[str, bytes | None]]

_DIFF = re.compile(r"^diff --git a/(\S+) b/(\S+)$", re.MULTILINE)


def series(directory: Path) -> list[Path]:
    """Return the patches in a directory in the order of their numbers."""
    return sorted(directory.glob("[0-9]*.patch"))


def touched(patches: list[Path]) -> set[str]:
    """Return the paths that a series changes, adds or removes."""
    paths: set[str] = set()
    for patch in patches:
        for names in _DIFF.findall(patch.read_text(errors="surrogateescape")):
            paths.update(names)
    return paths


def apply_aside(patches: list[Path], pristine: Pristine) -> dict[str, bytes | None]:
    """Return the content of each touched file after the series; None: no such file.

    Raises Trouble that names the first patch which does not apply. Like `git am`, this
    tolerates no fuzz.
    """
    paths = touched(patches)
    with tempfile.TemporaryDirectory(prefix="zctap-patches-") as name:
        staging = Path(name)
        for path in paths:
            content = pristine(path)
            if content is not None:
                (staging / path).parent.mkdir(parents=True, exist_ok=True)
                (staging / path).write_bytes(content)
        # Below a repository `git apply` silently skips what is not part of it.
        env = {"GIT_CEILING_DIRECTORIES": str(staging.parent)}
        for patch in patches:
            try:
                run(["git", "apply", "--whitespace=nowarn", patch.resolve()], cwd=staging, env=env)
            except Trouble as err:
                raise Trouble(f"{patch.name} does not apply: {err}") from err
        after = {path: staging / path for path in paths}
        return {p: file.read_bytes() if file.is_file() else None for p, file in after.items()}


def write_if_different(path: Path, content: bytes | None) -> bool:
    """Make `path` hold `content` (None: not exist). Return whether that was a change."""
    old = path.read_bytes() if path.is_file() else None
    if old == content:
        return False
    if content is None:
        path.unlink()
        return True
    path.parent.mkdir(parents=True, exist_ok=True)
    # Renamed into place: a killed run must not leave half a file with a fresh mtime.
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(content)
    if path.exists():
        temporary.chmod(path.stat().st_mode)
    temporary.replace(path)
    return True


class Originals:
    """Pristine content for a tree of which there is no other copy: saved before a change."""

    def __init__(self, tree: Path) -> None:
        """`tree`: its originals are kept in a directory beside it, named TREE.orig."""
        self.tree = tree
        self.store = tree.with_name(tree.name + ".orig")

    def save(self, paths: set[str], known: set[str]) -> None:
        """Keep what the tree has of `paths`, but for `known`: those were saved before."""
        for path in paths - known:
            if (self.tree / path).is_file():
                write_if_different(self.store / path, (self.tree / path).read_bytes())

    def __call__(self, path: str) -> bytes | None:
        """Return the saved content, or None if the pristine tree has no such file."""
        saved = self.store / path
        return saved.read_bytes() if saved.is_file() else None


def ever_touched(tree: Path) -> set[str]:
    """Return the paths that this or an earlier series changed in `tree`."""
    state = tree.with_name(tree.name + ".series.json")
    return set(json.loads(state.read_text())) if state.is_file() else set()


def update(
    tree: Path, patches: list[Path], pristine: Pristine, change: Change | None = None
) -> list[str]:
    """Make `tree` hold the series and nothing of an earlier one.

    `change` makes something else of what the series does. Returns the paths that were written.
    An interrupted update is completed by the next: the paths are noted before the first is
    touched, and never forgotten.
    """
    paths = ever_touched(tree) | touched(patches)
    # Those of another tree, which has the series already, are not this one's to save.
    if isinstance(pristine, Originals) and pristine.tree == tree:
        pristine.save(paths, ever_touched(tree))
    after = apply_aside(patches, pristine)
    if change:
        after = change(after)
        paths |= after.keys()
    state = tree.with_name(tree.name + ".series.json")
    write_if_different(state, json.dumps(sorted(paths), indent=0).encode())
    return [
        path
        for path in sorted(paths)
        if write_if_different(tree / path, after[path] if path in after else pristine(path))
    ]


def series_key(patches: list[Path]) -> str:
    """Return a key for what the patches change; mail headers do not count."""
    parts: list[str] = []
    for patch in patches:
        text = patch.read_text(errors="surrogateescape")
        start = text.find("\ndiff --git ")
        parts.append(text[start:] if start >= 0 else text)
    return cache.key_of(*(part.encode(errors="surrogateescape") for part in parts))
