# SPDX-License-Identifier: GPL-2.0
"""What gcov needs of a build, kept with its kernel: the tree and the objects go on changing.

<gcov>/about.json       where the tree was, and the lines that the series added to each file
<gcov>/objects/...      the .gcno files, as in the build's folder
<gcov>/source/...       the sources whose coverage is of interest, as in the tree
"""

from __future__ import annotations

import difflib
import json
import shutil
from pathlib import Path

from lib.vm import patches
from lib.vm.patches import Pristine

# Part of a kernel's key: kernels without notes, or with other ones, are built anew.
FORMAT = "notes 1"
_ALWAYS = ("io_uring/zctap*.[ch]", "drivers/net/veth.c")


def added_lines(before: str, after: str) -> list[int]:
    """Return the numbers of the lines of `after` that a diff calls added."""
    old, new = before.splitlines(), after.splitlines()
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    numbers: list[int] = []
    for kind, _, _, first, last in matcher.get_opcodes():
        if kind in ("insert", "replace"):
            numbers += range(first + 1, last + 1)
    return numbers


def keep(target: Path, build: Path, tree: Path, pristine: Pristine | None) -> None:
    """Copy what belongs to a build; `pristine` gives the files without the series, if known."""
    target.mkdir(parents=True, exist_ok=True)
    for path in build.rglob("*.gcno"):
        _copy(path, target / "objects" / path.relative_to(build))
    names = {str(path.relative_to(tree)) for pattern in _ALWAYS for path in tree.glob(pattern)}
    added = {}
    if pristine:
        for name in patches.ever_touched(tree):
            path = tree / name
            if path.suffix not in (".c", ".h") or not path.is_file():
                continue
            names.add(name)
            before = (pristine(name) or b"").decode(errors="replace")
            added[name] = added_lines(before, path.read_text(errors="replace"))
    for name in names:
        _copy(tree / name, target / "source" / name)
    about = {"tree": str(tree), "added": added}
    (target / "about.json").write_text(json.dumps(about))


def _copy(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(path, to)
