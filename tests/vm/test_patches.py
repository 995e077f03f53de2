# SPDX-License-Identifier: GPL-2.0
"""The series on a tree: what is written, what is left alone, what comes back."""

import os
import shutil
from pathlib import Path

import pytest

from lib.trouble import Trouble
from lib.vm import mirror, patches
from lib.vm.source import Source

CHANGE_A = """From: A
Subject: [PATCH 1/2] change a

diff --git a/a.c b/a.c
--- a/a.c
+++ b/a.c
@@ -1,2 +1,2 @@
-int a = 1;
+int a = 2;
 /* end */
"""
ADD_NEW = """From: A
Subject: [PATCH 2/2] add new

diff --git a/dir/new.c b/dir/new.c
new file mode 100644
--- /dev/null
+++ b/dir/new.c
@@ -0,0 +1 @@
+int new;
"""
CHANGE_B = CHANGE_A.replace("a.c", "b.c").replace("int a", "int b")
LONG_AGO = (1_000_000_000, 1_000_000_000)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree of two files, both old."""
    top = tmp_path / "tree"
    top.mkdir()
    for name in "ab":
        (top / f"{name}.c").write_text(f"int {name} = 1;\n/* end */\n")
        os.utime(top / f"{name}.c", LONG_AGO)
    return top


def write_series(where: Path, *texts: str) -> list[Path]:
    where.mkdir(exist_ok=True)
    for old in where.iterdir():
        old.unlink()
    for number, text in enumerate(texts, 1):
        (where / f"{number:04}-x.patch").write_text(text)
    return patches.series(where)


def touched_on_disk(tree: Path) -> set[str]:
    return {p.name for p in tree.rglob("*.c") if p.stat().st_mtime != LONG_AGO[0]}


def test_series_is_applied_and_others_keep_their_mtime(tree: Path, tmp_path: Path):
    series = write_series(tmp_path / "p", CHANGE_A, ADD_NEW)
    written = patches.update(tree, series, patches.Originals(tree))
    assert written == ["a.c", "dir/new.c"]
    assert (tree / "a.c").read_text().startswith("int a = 2;")
    assert touched_on_disk(tree) == {"a.c", "new.c"}
    assert patches.update(tree, series, patches.Originals(tree)) == []


def test_changed_patch_writes_only_its_files(tree: Path, tmp_path: Path):
    originals = patches.Originals(tree)
    patches.update(tree, write_series(tmp_path / "p", CHANGE_A, CHANGE_B), originals)
    for name in "ab":
        os.utime(tree / f"{name}.c", LONG_AGO)
    changed = CHANGE_B.replace("= 2", "= 3")
    assert patches.update(tree, write_series(tmp_path / "p", CHANGE_A, changed), originals) == [
        "b.c"
    ]
    assert touched_on_disk(tree) == {"b.c"}


def test_dropped_patches_are_undone(tree: Path, tmp_path: Path):
    originals = patches.Originals(tree)
    patches.update(tree, write_series(tmp_path / "p", CHANGE_A, ADD_NEW), originals)
    patches.update(tree, write_series(tmp_path / "p", CHANGE_B), originals)
    assert (tree / "a.c").read_text().startswith("int a = 1;")
    assert not (tree / "dir" / "new.c").exists()
    patches.update(tree, [], originals)
    assert (tree / "b.c").read_text().startswith("int b = 1;")


def test_patch_that_does_not_apply_is_named(tree: Path, tmp_path: Path):
    series = write_series(tmp_path / "p", CHANGE_A, CHANGE_A)
    with pytest.raises(Trouble, match=r"^0002-x\.patch does not apply"):
        patches.update(tree, series, patches.Originals(tree))
    assert touched_on_disk(tree) == set()


def test_key_ignores_mail_headers(tmp_path: Path):
    one = patches.series_key(write_series(tmp_path / "p", CHANGE_A))
    two = patches.series_key(write_series(tmp_path / "p", CHANGE_A.replace("From: A", "From: B")))
    three = patches.series_key(write_series(tmp_path / "p", CHANGE_A.replace("= 2", "= 3")))
    assert one == two != three


def test_mirror_follows_the_tree_and_leaves_it_alone(tree: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    (tree / "built.o").write_text("object")
    mirror.sync(tree, copy)
    assert {path.name for path in copy.iterdir()} == {"a.c", "b.c"}
    os.utime(copy / "a.c", LONG_AGO)
    os.utime(copy / "b.c", LONG_AGO)
    (tree / "b.c").write_text("int b = 4;\n")
    mirror.sync(tree, copy)
    assert touched_on_disk(copy) == {"b.c"}
    (tree / "b.c").unlink()
    mirror.sync(tree, copy)
    assert not (copy / "b.c").exists()


@pytest.mark.parametrize("after", ["file", "link", "directory"])
@pytest.mark.parametrize("before", ["file", "link", "directory"])
@pytest.mark.parametrize("killed", [False, True])
def test_mirror_follows_what_becomes_something_else(
    tree: Path, tmp_path: Path, before: str, after: str, killed: bool
):
    copy, outside, name = tmp_path / "copy", tmp_path / "outside", tree / "name"
    outside.mkdir()
    (outside / "x.c").write_text("not ours")

    def become(what: str) -> None:
        if what == "file":
            name.write_text("a file")
        elif what == "link":
            name.symlink_to(outside)
        else:
            name.mkdir()
            (name / "x.c").write_text("below")

    become(before)
    mirror.sync(tree, copy)
    manifest = tmp_path / "copy.files.json"
    known = manifest.read_bytes()
    if name.is_dir() and not name.is_symlink():
        shutil.rmtree(name)
    else:
        name.unlink()
    become(after)
    mirror.sync(tree, copy)
    if killed:  # before it had written down what it did
        manifest.write_bytes(known)
        mirror.sync(tree, copy)
    assert (outside / "x.c").read_text() == "not ours"
    found = copy / "name"
    assert found.is_symlink() == (after == "link")
    assert found.is_file() == (after == "file")
    assert {path.name for path in outside.iterdir()} == {"x.c"}
    if after == "directory":
        assert (found / "x.c").read_text() == "below"


def test_copy_of_a_tree_leaves_the_trees_originals_alone(tree: Path, tmp_path: Path):
    series, originals = write_series(tmp_path / "p", CHANGE_A), patches.Originals(tree)
    before = originals("a.c") or (tree / "a.c").read_bytes()
    patches.update(tree, series, originals)
    mirror.sync(tree, tmp_path / "copy")
    patches.update(tmp_path / "copy", series, originals)
    assert (tmp_path / "copy" / "a.c").read_bytes() == (tree / "a.c").read_bytes()
    assert originals("a.c") == before != (tree / "a.c").read_bytes()


def test_change_on_top_of_the_series(tree: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    series = write_series(tmp_path / "p", CHANGE_A)

    def refresh(change: patches.Change | None) -> list[str]:
        mirror.sync(tree, copy)
        return patches.update(copy, series, lambda name: (tree / name).read_bytes(), change)

    def more(contents: dict[str, bytes | None]) -> dict[str, bytes | None]:
        return {"a.c": (contents["a.c"] or b"") + b"more", "new.c": b"new"}

    assert refresh(more) == ["a.c", "new.c"]
    assert (copy / "a.c").read_text() == "int a = 2;\n/* end */\nmore"
    assert refresh(more) == []


def test_series_on_a_mirror(tree: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    series = write_series(tmp_path / "p", CHANGE_A)

    def refresh(patch_files: list[Path]) -> str:
        mirror.sync(tree, copy)
        patches.update(copy, patch_files, lambda name: (tree / name).read_bytes())
        return (copy / "a.c").read_text()

    assert refresh(series) == "int a = 2;\n/* end */\n"
    # The user goes on editing the file that the series changes.
    (tree / "a.c").write_text("int a = 1;\n/* end */\n/* more */\n")
    assert refresh(series) == "int a = 2;\n/* end */\n/* more */\n"
    assert refresh([]) == (tree / "a.c").read_text()


def test_two_builds_share_a_tree_that_is_as_both_want_it(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    prepared = []

    def source_at(state: str) -> Source:
        return Source(
            "t", "v", None, True, tree, state=state, prepare=lambda: prepared.append(state)
        )

    with source_at("one").tree(), source_at("one").tree() as (path, _):
        assert path == tree
    with source_at("two").tree():
        pass
    with source_at("one").tree():
        pass
    assert prepared == ["one", "two", "one"]
