# SPDX-License-Identifier: GPL-2.0
"""KTAP: by a check of our own, and by the kernel's parser where a source tree has it."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lib.report.ktap import Writer, verdict
from lib.report.model import Result
from lib.vm import cache

LINE = re.compile(r"(not ok|ok) (\d+) (\S.*?)(?: # (SKIP|XFAIL|XPASS|TIMEOUT|ERROR)(.*))?$")
# As they arrive: two modules of which the second starts before the first is done.
MIXED = [
    Result("s/m1.py::a", "passed"),
    Result("s/m1.py::b[x#1]", "failed", detail="first\n\tassert 0\nok 1 not me\n# Subtest: x"),
    Result("s/m2.py::a", "skipped", reason="no # zctap\nhere"),
    Result("s/m1.py::c", "xfailed", reason="known"),
    Result("s/m2.py::b", "skipped", reason="no zctap"),
    Result("s/m3.py::a", "timeout", reason="the guest is silent"),
    Result("s/m3.py::b", "crashed", detail="\x1b[31mKernel panic - not syncing: VFS: x\r\n\udc80"),
    Result("s/m3.py::c", "not run", reason="the run ended before it"),
    Result("s/m4.py::a", "xpassed"),
    Result("s/m5.py", "not run", reason="interrupted"),
]


def written(results: list[Result]) -> str:
    out = io.StringIO()
    writer = Writer(out)
    writer.begin(dict.fromkeys(result.module for result in results), ["guest: booted"])
    writer.announce([result.id for result in results])
    for result in results:
        writer.result(result)
    return out.getvalue()


def parse(text: str, depth: int = 0) -> list[tuple[str, str, str | None]]:
    """Check a level's form; return its results as (ok, name, directive)."""
    indent = "  " * depth
    lines = [
        line[len(indent) :]
        for line in text.splitlines()
        if line.startswith(indent) and not line[len(indent) :].startswith((" ", "#"))
    ]
    assert lines[0] == "KTAP version 1"
    plan = int(lines[1].removeprefix("1.."))
    found = [LINE.fullmatch(line) for line in lines[2:]]
    assert all(found), lines
    results = [match for match in found if match]
    assert [int(match[2]) for match in results] == list(range(1, plan + 1))
    return [(match[1], match[3], match[4]) for match in results]


def test_modules_are_the_top_level():
    assert parse(written(MIXED)) == [
        ("not ok", "s/m1.py", None),
        ("ok", "s/m2.py", "SKIP"),
        ("not ok", "s/m3.py", None),
        ("ok", "s/m4.py", None),
        ("not ok", "s/m5.py", "ERROR"),
    ]


def test_tests_are_nested_in_their_module():
    text = written(MIXED)
    first = text[text.index("  KTAP version 1") : text.index("not ok 1 s/m1.py")]
    assert parse(first, 1) == [
        ("ok", "a", None),
        ("not ok", "b[x_1]", None),
        ("ok", "c", "XFAIL"),
    ]


def test_detail_comes_before_its_result_and_is_no_result():
    lines = written(MIXED).splitlines()
    at = lines.index("  not ok 2 b[x_1]")
    assert lines[at - 4 : at] == [
        "  # b[x_1]: first",
        "  # b[x_1]:  assert 0",
        "  # b[x_1]: ok 1 not me",
        "  # b[x_1]: # Subtest: x",
    ]


def test_results_come_out_as_soon_as_their_order_allows():
    out = io.StringIO()
    writer = Writer(out)
    writer.begin(dict.fromkeys(result.module for result in MIXED), [])
    writer.announce([result.id for result in MIXED])
    writer.result(MIXED[0])
    assert out.getvalue().endswith("  ok 1 a\n")
    writer.result(MIXED[2])
    assert out.getvalue().endswith("  ok 1 a\n")


def test_tests_of_a_module_may_be_announced_late():
    out = io.StringIO()
    writer = Writer(out)
    writer.begin(["m.py", "n.py", "o.py"], [])
    writer.announce(["m.py::a"])
    writer.result(Result("m.py::a", "passed"))
    writer.announce(["m.py::a", "n.py::a", "n.py::b"])
    for name in ("n.py::a", "n.py::b"):
        writer.result(Result(name, "passed"))
    writer.empty("o.py")
    writer.empty("p.py")
    assert parse(out.getvalue()) == [
        ("ok", "m.py", None),
        ("ok", "n.py", None),
        ("ok", "o.py", "SKIP"),
    ]


def test_guest_lost_before_it_announced_a_test_is_told_in_the_next_module():
    out = io.StringIO()
    writer = Writer(out)
    writer.begin(["m.py", "n.py"], [])
    writer.announce(["m.py::a"])
    writer.result(Result("m.py::a", "passed"))
    writer.announce(["guest-2", "n.py::b"])
    writer.result(Result("guest-2", "panic", reason="an oops"))
    writer.result(Result("n.py::b", "passed"))
    writer.end()
    text = out.getvalue()
    assert parse(text) == [("ok", "m.py", None), ("not ok", "n.py", None)]
    assert parse(text[text.index("  KTAP version 1\n  # Subtest: n.py") :], 1) == [
        ("not ok", "guest-2", "ERROR"),
        ("ok", "b", None),
    ]


def test_guest_lost_when_no_module_follows_is_told_all_the_same():
    out = io.StringIO()
    writer = Writer(out)
    writer.begin(["m.py"], [])
    writer.announce(["m.py::a"])
    writer.result(Result("m.py::a", "passed"))
    writer.result(Result("guest-2", "qemu"))
    writer.end()
    assert out.getvalue().splitlines()[-1] == "not ok 2 guest-2 # ERROR qemu:"


def test_module_of_which_some_is_left_has_its_tests_and_the_rest():
    found = written([Result("m.py::a", "passed"), Result("m.py", "not run")]).splitlines()
    assert found[-3:] == ["  ok 1 a", "  not ok 2 uncollected # ERROR not run:", "not ok 1 m.py"]


def test_control_characters_and_endings_are_defused():
    text = written(MIXED)
    assert "\x1b" not in text
    assert "\r" not in text
    assert "Kernel panic - not syncing" not in text
    text.encode()


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (Result("m::a", "passed"), "ok 3 a"),
        (Result("m::a", "failed"), "not ok 3 a"),
        (Result("m::a", "skipped", reason="no x"), "ok 3 a # SKIP no x"),
        (Result("m::a", "xfailed", reason="known"), "ok 3 a # XFAIL known"),
        (Result("m::a", "timeout", reason="silent"), "not ok 3 a # TIMEOUT silent"),
        (Result("m::a", "crashed", reason="panic"), "not ok 3 a # ERROR crashed: panic"),
        (Result("m::a", "anything", reason=""), "not ok 3 a # ERROR anything:"),
    ],
)
def test_verdicts(result: Result, line: str):
    assert verdict(result, 3, "a") == line


def kunit_parser() -> Path | None:
    trees = [*(cache.root() / "source").glob("*"), *Path("/usr/src").glob("linux-source-*")]
    found = [tree / "tools/testing/kunit/kunit.py" for tree in trees]
    return next((path for path in found if path.is_file()), None)


@pytest.mark.skipif(not kunit_parser(), reason="no unpacked kernel source with kunit.py")
def test_kernel_s_own_parser_counts_the_same(tmp_path: Path):
    path = tmp_path / "log"
    path.write_text(written(MIXED))
    done = subprocess.run(
        [sys.executable, str(kunit_parser()), "parse", str(path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TERM": "dumb"},
    )
    said = done.stdout + done.stderr
    assert "[ERROR]" not in said
    assert "Testing complete. Ran 10 tests: passed: 3, failed: 5, skipped: 2" in said
