# SPDX-License-Identifier: GPL-2.0
"""What is kept of a build for gcov."""

import json
from pathlib import Path

from lib.vm.notes import added_lines, keep

BEFORE = "a\nb\nc\nd\n"


def test_lines_that_a_diff_calls_added():
    assert added_lines(BEFORE, "a\nnew\nb\nC\nd\nend\n") == [2, 4, 6]
    assert added_lines(BEFORE, "a\nd\n") == []
    assert added_lines("", "a\nb\n") == [1, 2]


def test_objects_and_sources_are_kept(tmp_path: Path):
    build, tree, target = (tmp_path / name for name in ("build", "tree", "kept"))
    for path in (
        build / "io_uring" / "zctap.gcno",
        build / "io_uring" / "zctap.o",
        tree / "io_uring" / "zctap.c",
        tree / "io_uring" / "rw.c",
        tree / "net" / "core.c",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x\ny\n")
    (tmp_path / "tree.series.json").write_text(json.dumps(["net/core.c", "MAINTAINERS"]))
    keep(target, build, tree, lambda name: b"x\n")
    files = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert files == {
        "about.json",
        "objects/io_uring/zctap.gcno",
        "source/io_uring/zctap.c",
        "source/net/core.c",
    }
    about = json.loads((target / "about.json").read_text())
    assert about == {"tree": str(tree), "added": {"net/core.c": [2]}}


def test_without_a_series_no_line_is_added(tmp_path: Path):
    keep(tmp_path / "kept", tmp_path, tmp_path, None)
    assert json.loads((tmp_path / "kept" / "about.json").read_text())["added"] == {}
