# SPDX-License-Identifier: GPL-2.0
"""Copy the suite into a kernel tree's tools/testing/selftests/zctap: `make dropin`.

The copy is our repository without what a kernel tree has no use for; kselftest's own files are at
its top, so that `lib`, `selftests` and the other names that Python imports are what they are here,
and tests have the same ids. Standard library only.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from lib.run.suite import PARTS, ROOT
from lib.trouble import Trouble

NAME = "zctap"
# At the top of the copy; in our repository in selftests/zctap/.
KSELFTEST = ("Makefile", "config", "settings", "zctap.py")
# What is ours in the copy, a path a line: what is not listed is never touched.
LIST = "dropin.list"
_NOT_OURS = {"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache"}


def files(root: Path = ROOT) -> dict[str, Path]:
    """Return what a copy consists of: path in it -> file."""
    found: dict[str, Path] = {}
    # `root` may be a copy itself.
    ours = root / "selftests" / NAME
    for name in KSELFTEST:
        found[name] = ours / name if (ours / name).exists() else root / name
    for part in PARTS:
        for path in [root / part] if (root / part).is_file() else (root / part).rglob("*"):
            below = path.relative_to(root)
            at_the_top = path.parent == ours and path.name in KSELFTEST
            if path.is_file() and not at_the_top and not _NOT_OURS & set(below.parts):
                found[str(below)] = path
    return found


def place(tree: Path) -> Path:
    """Return the directory for the copy in a kernel tree. Raises Trouble."""
    selftests = tree / "tools" / "testing" / "selftests"
    if not (selftests / "lib.mk").is_file() or not (tree / "Kbuild").is_file():
        raise Trouble(f"not a kernel tree with tools/testing/selftests in it: {tree}")
    target = selftests / NAME
    if target.is_symlink():
        raise Trouble(f"{target} is a link: remove it, or leave it as it is")
    if target.exists() and not (target / LIST).is_file():
        raise Trouble(f"{target} is not a copy of this suite (it has no {LIST}): remove it")
    if target.resolve() == ROOT:
        raise Trouble(f"{target} is where the copy would come from")
    return target


def copy(target: Path, root: Path = ROOT) -> tuple[int, int]:
    """Bring the copy up to date; return how many files it has, and how many went away."""
    wanted = files(root)
    old = (target / LIST).read_text().splitlines() if (target / LIST).exists() else []
    # The list of the old files stays as long as any of them may: it names the new ones, too.
    target.mkdir(exist_ok=True)
    (target / LIST).write_text("".join(f"{name}\n" for name in sorted({*wanted, *old})))
    stale = [name for name in old if name not in wanted and _inside(name)]
    for name in stale:
        (target / name).unlink(missing_ok=True)
        _remove_empty(target, (target / name).parent)
    for name, path in wanted.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target / name)
    (target / LIST).write_text("".join(f"{name}\n" for name in sorted(wanted)))
    return len(wanted), len(stale)


def _inside(name: str) -> bool:
    """Whether a line of the list leads nowhere but into the copy."""
    return bool(name) and not os.path.isabs(name) and ".." not in Path(name).parts


def _remove_empty(target: Path, folder: Path) -> None:
    """Remove a directory that has nothing left but bytecode, and those above it."""
    while folder != target and folder.is_dir():
        if {path.name for path in folder.iterdir()} - {"__pycache__"}:
            return
        shutil.rmtree(folder)
        folder = folder.parent


def main(argv: list[str]) -> int:
    """Copy; the arguments are the tree, and the directory that it is relative to."""
    try:
        if not argv[0]:
            raise Trouble("say which kernel tree: make dropin TREE=/path/to/linux")
        tree = Path(*argv[1:], os.path.expanduser(argv[0])).resolve()
        target = place(tree)
        there, gone = copy(target)
    except (Trouble, OSError) as err:
        print(f"dropin: {err}", file=sys.stderr)
        return 2
    print(f"{target}: {there} files" + (f", {gone} removed" if gone else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
