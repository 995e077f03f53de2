# SPDX-License-Identifier: GPL-2.0
"""Bisections of a real repository, whose commits say themselves how their tests end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lib.bisect import repository
from lib.deadline import wait_until
from lib.report.model import HOST
from lib.run import bisect
from lib.run.options import Options
from lib.trouble import Trouble
from lib.vm import cache, command

ROOT = Path(__file__).resolve().parents[2]
TEST = "selftests/zctap/test_x.py::test_y"
STATUS = {"good": 0, "bad": 1, "broken": 125, "runner": 125}
SAID = {"runner": "run_tests.py: a bug of this runner, at x.py:1: KeyError(1)"}


class Tree:
    """A repository; the file `state` of each commit is "good", "bad" or "broken"."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.git("init", "-q")
        self.commits: list[str] = []

    def git(self, *words: str) -> str:
        """Run git there."""
        who = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
        command = ["git", "-C", str(self.path), *who, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def add(self, *states: str) -> None:
        """Add a commit for each state."""
        for state in states:
            (self.path / "state").write_text(state)
            (self.path / "number").write_text(str(len(self.commits)))
            self.git("add", "-A")
            self.git("commit", "-q", "-m", f"commit {len(self.commits)}: {state}")
            self.commits.append(self.git("rev-parse", "HEAD"))

    def options(self, good: int = 0, bad: int = -1, **more: object) -> Options:
        """Return the options of a bisection between two commits."""
        ends = {"good": self.commits[good], "bad": self.commits[bad]}
        return Options(command="bisect", tree=self.path, **ends, **more)  # type: ignore[arg-type]


class Suite:
    """Stands for a run of the suite on the tree that is checked out."""

    def __init__(self) -> None:
        self.judged: list[str] = []
        self.interrupt_after: int | None = None

    def test(self, bisection: bisect.Bisection, log: Path) -> int:
        """Return the exit status that the tree asks for."""
        if self.interrupt_after == len(self.judged):
            self.interrupt_after = None
            raise KeyboardInterrupt
        tree = bisection._clone.path
        state = (tree / "state").read_text()
        self.judged.append((tree / "number").read_text())
        log.with_suffix(".log").write_text(SAID.get(state, f"it is {state}") + "\n")
        events = [{"ev": "session", "tests": [TEST], "session": "guest-1"}]
        outcome = "passed" if state == "good" else "failed"
        events += [{"ev": "result", "id": TEST, "outcome": outcome, "session": "guest-1"}]
        lines = "".join(json.dumps(event) + "\n" for event in events)
        log.with_suffix(".events").write_text(lines)
        return STATUS[state]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """An empty repository."""
    (tmp_path / "origin").mkdir()
    return Tree(tmp_path / "origin")


@pytest.fixture(autouse=True)
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """Runs without a kernel, and a cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = Suite()
    monkeypatch.setattr(bisect.Bisection, "_test", lambda self, log: found.test(self, log))
    return found


def test_first_bad_commit_is_found(tree: Tree, capsys: pytest.CaptureFixture[str]):
    tree.add(*["good"] * 7, *["bad"] * 6)
    assert bisect.run(tree.options()) == 0
    said = capsys.readouterr().out
    assert "first bad commit: " in said.splitlines()[-2]
    assert "commit 7: bad" in said.splitlines()[-2]
    assert tree.git("status", "--porcelain") == ""
    assert not (tree.path / ".git" / "BISECT_START").exists()


def test_log_can_be_replayed(tree: Tree, capsys: pytest.CaptureFixture[str]):
    tree.add(*["good"] * 3, *["bad"] * 3)
    bisect.run(tree.options())
    log = capsys.readouterr().out.strip().rpartition(" ")[2]
    assert "is the first bad commit" in tree.git("bisect", "replay", log)


def test_commits_that_cannot_be_judged_are_skipped(tree: Tree, capsys: pytest.CaptureFixture[str]):
    tree.add("good", "good", "broken", "good", "broken", "bad", "broken", "bad")
    assert bisect.run(tree.options()) == 2
    said = capsys.readouterr().out
    assert "the first bad commit is one of these" in said
    assert "commit 4: broken" in said
    assert "commit 5: bad" in said


def test_interrupted_bisection_goes_on(
    tree: Tree, suite: Suite, capsys: pytest.CaptureFixture[str]
):
    tree.add(*["good"] * 20, *["bad"] * 11)
    suite.interrupt_after = 4
    with pytest.raises(KeyboardInterrupt):
        bisect.run(tree.options())
    before = list(suite.judged)
    assert bisect.run(tree.options()) == 0
    assert "commit 20: bad" in capsys.readouterr().out
    # The ends and the steps before were not judged again.
    assert len(set(suite.judged)) == len(suite.judged) > len(before) == 4


def test_bisection_goes_on_after_a_checkout_that_was_killed(
    tree: Tree, capsys: pytest.CaptureFixture[str]
):
    tree.add("good", "good", "bad")
    assert bisect.run(tree.options()) == 0
    (clone,) = cache.folder("bisect").glob("*/tree")
    (clone / ".git" / "index.lock").touch()
    assert bisect.run(replace(tree.options(), seed=7)) == 0  # another one, in the same clone
    assert capsys.readouterr().out.count("first bad commit: ") == 2


def test_bisection_goes_on_after_a_clone_that_was_killed(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    tree.add("good", "good", "bad")

    def killed(words: Sequence[str | Path], **more: Any) -> bytes:
        if "clone" not in words:
            return command.run(words, **more)
        (Path(words[-1]) / ".git").mkdir(parents=True)
        (Path(words[-1]) / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(repository, "run", killed)
        with pytest.raises(KeyboardInterrupt):
            bisect.run(tree.options())
    assert bisect.run(tree.options()) == 0
    assert capsys.readouterr().out.count("first bad commit: ") == 1


def test_bisections_of_a_tree_share_a_clone_and_do_not_meet(
    tree: Tree, suite: Suite, capsys: pytest.CaptureFixture[str]
):
    tree.add(*["good"] * 20, *["bad"] * 11)
    suite.interrupt_after = 4
    with pytest.raises(KeyboardInterrupt):
        bisect.run(tree.options())
    assert bisect.run(tree.options(good=8)) == 0
    judged = len(suite.judged)
    assert bisect.run(tree.options()) == 0
    assert capsys.readouterr().out.count("first bad commit: ") == 2
    assert len(list(cache.folder("bisect").glob("*/tree"))) == 1
    # What was known before the interruption still was.
    assert not {"0", "30"} & set(suite.judged[judged:])


def test_good_end_that_fails_too_is_trouble(tree: Tree):
    tree.add("bad", "bad", "bad")
    with pytest.raises(Trouble, match=r"--good .* is not"):
        bisect.run(tree.options())


def test_bad_end_that_passes_is_trouble(tree: Tree):
    tree.add("good", "good")
    with pytest.raises(Trouble, match=r"--bad .* is not"):
        bisect.run(tree.options())


def test_ends_must_be_related_and_exist(tree: Tree):
    tree.add("good", "bad")
    with pytest.raises(Trouble, match="not in the history"):
        bisect.run(tree.options(good=1, bad=0))
    with pytest.raises(Trouble, match="no such commit"):
        bisect.run(Options(command="bisect", tree=tree.path, good="v0", bad="HEAD"))


def test_a_commit_has_to_pass_as_often_as_asked(tree: Tree, suite: Suite):
    tree.add("good", "good", "bad")
    bisect.run(tree.options(repeat=3))
    assert sorted(suite.judged) == ["0", "0", "0", "1", "1", "1", "2"]


def test_a_bug_of_the_runner_is_no_reason_to_skip(tree: Tree, suite: Suite):
    tree.add("good", "good", "runner", "bad", "bad")
    with pytest.raises(Trouble, match=r"a bug of this runner, at x.py:1.*the same command goes on"):
        bisect.run(tree.options())
    assert suite.judged == ["4", "0", "2"]


def test_a_full_disk_is_no_reason_to_skip(
    tree: Tree, suite: Suite, monkeypatch: pytest.MonkeyPatch
):
    tree.add("good", "broken", "bad")
    monkeypatch.setattr(cache, "GIB", 1 << 60)
    with pytest.raises(Trouble, match="are free"):
        bisect.run(tree.options())


def test_what_was_not_run_is_no_failure(tmp_path: Path):
    def failing(*outcomes: str) -> list[str]:
        tests = [f"m.py::{number}" for number in range(len(outcomes))]
        events: list[dict[str, object]] = [{"ev": "session", "tests": tests, "session": "guest-1"}]
        for test, outcome in zip(tests, outcomes, strict=True):
            session = "guest-1" if outcome in ("passed", "failed", "skipped") else HOST
            events.append({"ev": "result", "id": test, "outcome": outcome, "session": session})
        path = tmp_path / "events"
        path.write_text("".join(json.dumps(event) + "\n" for event in events))
        return bisect._failing(path)

    assert failing("passed", "failed", "passed") == ["m.py::1"]
    assert failing("skipped", "failed", "panic", "not run") == ["m.py::1", "m.py::2"]
    assert failing("passed", "no guest", "not run") == ["m.py::1", "m.py::2"]


def test_options_that_change_a_verdict_are_handed_on(tree: Tree):
    tree.add("good", "bad")
    words = bisect._selection(tree.options(seed=7, jobs=1, snapshot=False, kmemleak="module"))
    assert words[-6:] == ["--seed", "7", "-j", "1", "--kmemleak=module", "--no-snapshot"]
    assert "--kmemleak=auto" not in bisect._selection(tree.options(kmemleak="auto"))


def test_a_run_has_the_lock_and_ends_with_the_bisection(tmp_path: Path):
    """What stands for run_tests.py here notes what it has open, and would go on for long."""
    (tmp_path / "run_tests.py").write_text(
        "import os, pathlib, time\n"
        "held = [os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd')"
        " if os.path.exists(f'/proc/self/fd/{fd}')]\n"
        "new = pathlib.Path(__file__).with_name('new')\n"
        "new.write_text(' '.join([str(os.getpid()), *held]))\n"
        "new.rename(new.with_name('started'))\n"
        "time.sleep(1000)\n"
    )
    script = (
        "import sys, pathlib, types; from lib.run import bisect;"
        "from lib.run.options import Options;"
        "from lib.vm import cache; bisect.ROOT = here = pathlib.Path(sys.argv[1]);"
        "clone = types.SimpleNamespace(path=here);"
        "held = cache.lock('bisect-x'); fd = held.__enter__();"
        "bisect.Bisection(Options(), here, clone, 'good', 'bad', fd)._test(here / 'log')"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT) as process:
        started = tmp_path / "started"
        wait_until(started.exists, "it does not start", 10)
        pid, *held = started.read_text().split()
        process.kill()
    try:
        assert str(cache.root() / "lock" / "bisect-x.lock") in held
        wait_until(lambda: not Path("/proc", pid).exists(), f"process {pid} goes on", 5)
    finally:
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
