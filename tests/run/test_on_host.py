# SPDX-License-Identifier: GPL-2.0
"""pytest on this machine: what it is not to inherit, and what if nothing ends it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest

from lib.run import on_host
from lib.run.session import Session
from lib.run.supervise import Supervisor

_TEST = """
import helper
def test_a(): helper.check()
def test_b(): pass
"""


@pytest.mark.parametrize(
    ("name", "value"),
    [("PYTHONOPTIMIZE", "1"), ("PYTEST_ADDOPTS", "-x"), ("PYTEST_PLUGINS", "none")],
)
def test_what_users_have_set_for_their_own_tests_changes_nothing(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "test_it.py").write_text(_TEST)
    # pytest rewrites the asserts of tests, but not these.
    (tmp_path / "helper.py").write_text("def check(): assert False\n")
    monkeypatch.setenv(name, value)
    supervisor = Supervisor([], 0.0)
    session = Session(supervisor, "pytest-1", 60, starting=60)
    plugins = ["-p", "lib.report.plugin", "-p", "no:randomly", "-p", "no:cacheprovider"]
    words = [*plugins, "--rootdir", str(tmp_path), "-c", os.devnull, str(tmp_path / "test_it.py")]
    ended = on_host._attempt(session, words, {})
    assert ended.status == 1, ended.output.decode()
    found = {one.id.split("::")[-1]: one.outcome for one in session.run.results.values()}
    assert found == {"test_a": "failed", "test_b": "passed"}


def test_pytest_that_hangs_is_killed():
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    lost = on_host._hanging(process)
    assert (lost.kind, process.returncode) == ("timeout", -9)


def test_pytest_that_nothing_ends_is_said_to_hang_in_the_kernel():
    class Stuck:
        """As if SIGKILL could not reach it; the stack is a live process's."""

        def __init__(self, pid: int) -> None:
            self.pid = pid

        def wait(self, timeout: float) -> int:
            raise subprocess.TimeoutExpired("pytest", timeout)

    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, process_group=0
    ) as alive:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "killpg", lambda *_: None)
            lost = on_host._hanging(cast("subprocess.Popen[bytes]", Stuck(alive.pid)))
        alive.kill()
    assert lost.kind == "lockup"
    assert "SIGKILL does not end it" in str(lost)
    assert lost.lines[0].startswith(f"thread {alive.pid} (")
