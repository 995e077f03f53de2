# SPDX-License-Identifier: GPL-2.0
"""The copy for a kernel tree: what is in it, what it replaces, and that it can run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lib.run import dropin, suite
from lib.trouble import Trouble
from lib.vm import kconfig

HERE = suite.ROOT / "selftests" / "zctap"
# As if no make had started us.
ENV = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
LIB_MK = """all:
run_tests:
	@echo progs: $(TEST_PROGS)
	@echo files: $(TEST_FILES)
	@$(call RUN_TESTS)
define RUN_TESTS
	echo in: $$PWD
endef
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What a kernel tree is known by, with a lib.mk that says what it would work on."""
    selftests = tmp_path / "linux" / "tools" / "testing" / "selftests"
    selftests.mkdir(parents=True)
    (tmp_path / "linux" / "Kbuild").touch()
    (selftests / "lib.mk").write_text(LIB_MK)
    return tmp_path / "linux"


def all_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_copy_has_what_git_has():
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *suite.PARTS]
    done = subprocess.run(command, cwd=suite.ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git repository")
    known = {name for name in done.stdout.splitlines() if (suite.ROOT / name).exists()}
    assert {str(path.relative_to(suite.ROOT)) for path in dropin.files().values()} == known


def test_makefile_lists_the_same_parts():
    text = (HERE / "Makefile").read_text()
    assert set(re.findall(r"^PARTS := (.*)$", text, re.MULTILINE)[0].split()) == set(suite.PARTS)
    assert all((HERE / name).is_file() for name in dropin.KSELFTEST)


def test_config_asks_for_nothing_that_our_kernels_do_not_have():
    fragments = "".join(
        (kconfig.FRAGMENTS / f"{name}.config").read_text() for name in ("base", "zctap")
    )
    ours = kconfig.parse(fragments)
    lines = (HERE / "config").read_text().splitlines()
    assert all(re.fullmatch(r"CONFIG_\w+=y", line) for line in lines)
    assert len(set(lines)) == len(lines)
    assert {line for line in lines if ours.get(line.partition("=")[0]) != "y"} == set()


def test_copy_can_be_made_again_and_of_itself(tree: Path, tmp_path: Path):
    target = dropin.place(tree)
    assert dropin.copy(target) == (len(dropin.files()), 0)
    first = all_below(target)
    assert first == {*dropin.files(), dropin.LIST}
    dropin.copy(dropin.place(tree))
    assert all_below(target) == first
    dropin.copy(tmp_path / "another", root=target)
    assert all_below(tmp_path / "another") == first


def test_stale_files_of_ours_go_and_others_stay(tree: Path):
    target = dropin.place(tree)
    dropin.copy(target)
    for name in (
        "lib/old/module.py",
        "lib/old/__pycache__/module.pyc",
        "notes",
        "fixtures/mine.py",
    ):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).touch()
    (tree / "Makefile").touch()
    with (target / dropin.LIST).open("a") as file:
        file.write("lib/old/module.py\n../../../../Makefile\n")
    assert dropin.copy(dropin.place(tree)) == (len(dropin.files()), 1)
    assert all_below(target) == {*dropin.files(), dropin.LIST, "notes", "fixtures/mine.py"}
    assert not (target / "lib" / "old").exists()
    assert (tree / "Makefile").exists()


def test_places_that_are_refused(tree: Path, tmp_path: Path):
    with pytest.raises(Trouble, match="not a kernel tree"):
        dropin.place(tmp_path)
    target = dropin.place(tree)
    target.symlink_to(HERE)
    with pytest.raises(Trouble, match="is a link"):
        dropin.place(tree)
    target.unlink()
    target.mkdir()
    with pytest.raises(Trouble, match="not a copy of this suite"):
        dropin.place(tree)


def test_program_of_a_copy_finds_every_test(tree: Path):
    target = dropin.place(tree)
    dropin.copy(target)
    before = all_below(target)
    command = [sys.executable, str(target / "zctap.py"), "--list"]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=True)
    found = {name.split("::")[0] for name in done.stdout.splitlines()}
    assert found == {f"selftests/zctap/{path.name}" for path in HERE.glob("test_*.py")}
    assert all_below(target) == before, "a run left something in the tree"


needs_make = pytest.mark.skipif(not shutil.which("make"), reason="no make")


def make_run_tests(selftests: Path) -> dict[str, str]:
    command = ["sh", "-c", 'make -s -C zctap OUTPUT="$PWD/zctap" run_tests']
    done = subprocess.run(
        command, cwd=selftests, capture_output=True, text=True, check=True, env=ENV
    )
    return dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)


@needs_make
def test_make_in_a_copy(tree: Path):
    target = dropin.place(tree)
    dropin.copy(target)
    said = make_run_tests(target.parent)
    assert said["progs"] == "zctap.py"
    assert set(said["files"].split()) == {f"./{part}" for part in suite.PARTS}
    assert said["in"] == str(target)


@needs_make
def test_make_in_a_link(tree: Path):
    target = dropin.place(tree)
    target.symlink_to(HERE)
    said = make_run_tests(target.parent)
    assert set(said["files"].split()) == {f"../../{part}" for part in suite.PARTS}
    # Else the runner would look for `settings` elsewhere.
    assert said["in"] == str(target)


@needs_make
def test_make_in_a_copy_of_this_directory_alone(tree: Path):
    target = dropin.place(tree)
    shutil.copytree(HERE, target, ignore=shutil.ignore_patterns("*cache*"))
    assert make_run_tests(target.parent)["progs"] == "zctap.py"


@needs_make
def test_make_dropin(tree: Path):
    command = ["make", "-s", "-C", str(HERE), "dropin"]
    env = {**ENV, "PWD": str(tree.parent)}
    for argument, status in (("TREE=linux", 0), (f"TREE={tree}", 0), ("TREE=/proc", 2)):
        done = subprocess.run(
            [*command, argument], cwd=tree.parent, capture_output=True, text=True, env=env
        )
        assert done.returncode == status, done.stderr
    assert "dropin: not a kernel tree" in done.stderr
    assert (tree / "tools/testing/selftests/zctap/zctap.py").exists()
