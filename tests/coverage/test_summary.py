# SPDX-License-Identifier: GPL-2.0
"""Coverage: what counts, what is left out, and what is listed as missing."""

from typing import Any

from lib.coverage.summary import Files, Group, Line, Share, groups, merge, missing, to_json

TREE = "/tree"
TEXT = {
    "io_uring/zctap.c": [
        "static void __exit zctap_exit(void)",
        "{",
        "\treturn 0;",
        "}",
        "int zctap(int x)",
        "\tWARN_ON_ONCE(x < 0);",
        "\tif (x && y)",
        "\t\tcall();",
    ],
    "drivers/net/veth.c": ["old", "new", "new"],
}


def line(number: int, count: int, *branches: int) -> dict[str, Any]:
    return {
        "line_number": number,
        "count": count,
        "branches": [{"count": taken} for taken in branches],
    }


def output(name: str, *lines: dict[str, Any], exits: bool = False) -> dict[str, Any]:
    functions = [{"start_line": 1, "end_line": 4}] if exits else []
    return {"files": [{"file": f"{TREE}/{name}", "functions": functions, "lines": list(lines)}]}


def test_exit_code_and_assertions_do_not_count():
    told = output("io_uring/zctap.c", line(3, 0), line(6, 5, 5, 0), line(7, 5, 2, 3), exits=True)
    assert merge([told], TREE, TEXT.get) == {
        "io_uring/zctap.c": {6: Line(5, []), 7: Line(5, [2, 3])},
    }


def test_other_files_do_not_count():
    assert merge([output("include/linux/list.h", line(1, 1))], TREE, TEXT.get) == {}


def test_a_line_of_two_objects_is_one_line():
    told = [output("io_uring/zctap.c", line(7, 1, 1, 0)) for _ in range(2)]
    assert merge(told, TREE, TEXT.get)["io_uring/zctap.c"][7] == Line(2, [2, 0])


def test_the_copy_with_more_branches_speaks():
    both = Line(1, [1, 0])
    both.add(4, [1, 1, 2, 0])
    both.add(1, [9])
    assert both == Line(6, [1, 1, 2, 0])


FILES: Files = {
    "io_uring/zctap.c": {7: Line(4, [4, 0]), 8: Line(0, [0, 0])},
    "drivers/net/veth.c": {1: Line(0), 2: Line(3), 3: Line(0)},
    "net/core/skbuff.c": {10: Line(1, [1, 1])},
}
ADDED = {"drivers/net/veth.c": [2, 3], "net/core/skbuff.c": [11]}


def test_of_others_only_the_lines_of_the_series_count():
    own, veth, rest = groups(FILES, ADDED)
    assert (own.lines, own.branches) == (Share(1, 2), Share(1, 4))
    assert veth.lines == Share(1, 2)
    assert rest.files == {}
    assert rest.lines.percent == 100


def test_without_a_series_there_is_only_zctap_itself():
    assert [group.name for group in groups(FILES, {})] == ["io_uring/zctap*"]


def test_what_is_missing_is_shown_with_its_source():
    found = [Group("own", {"io_uring/zctap.c": FILES["io_uring/zctap.c"]})]
    assert list(missing(found, TEXT.get))[2:] == [
        "io_uring/zctap.c:7: branches taken [4 0]: if (x && y)",
        "io_uring/zctap.c:8: not run: call();",
    ]


def test_figures():
    own = to_json(groups(FILES, ADDED))["io_uring/zctap*"]
    assert own["lines"] == {"covered": 1, "total": 2, "percent": 50.0}
    assert own["files"]["io_uring/zctap.c"]["branches"]["percent"] == 25.0
