# SPDX-License-Identifier: GPL-2.0
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lib.deadline import wait_until
from lib.setup import host, venv
from lib.trouble import Trouble


def test_missing_asks_every_package():
    wanted = {"here": lambda: True, "gone": lambda: False, "lost": lambda: False}
    assert host.missing(wanted) == ["gone", "lost"]


def test_installing_needs_root_and_says_how(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Trouble, match="as root: apt-get install flex bison"):
        host.install(["flex", "bison"])


def test_every_python_package_is_pinned():
    assert venv.packages()
    assert all("==" in line for line in venv.packages())


_APT_GET = """#!/bin/sh
[ "$2" = -y ] || exit 0
trap 'echo told > told' INT TERM
echo $$ > at-work
n=0
until [ -e go ] || [ $n -gt 600 ]; do sleep 0.05; n=$((n + 1)); done
echo done > done
"""
_INSTALLS = """
import sys
sys.path.insert(0, sys.argv[1])
from lib.run.ending import catch_signals
from lib.setup import host
catch_signals()
try:
    host.install(["flex"])
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs packages")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_waits_for_the_end_of_apt_get(how: signal.Signals, tmp_path: Path):
    (tmp_path / "apt-get").write_text(_APT_GET)
    (tmp_path / "apt-get").chmod(0o755)
    root = str(Path(__file__).resolve().parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", _INSTALLS, root],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        wait_until(lambda: (tmp_path / "at-work").exists(), "apt-get at work", 20)
        os.killpg(process.pid, how)  # as a terminal does
        assert process.stderr
        lines = iter(process.stderr.readline, "")
        assert any("goes on to its end first" in line for line in lines)
        (tmp_path / "go").touch()
        assert process.wait(20) == 130
    assert (tmp_path / "done").exists()
    assert not (tmp_path / "told").exists()


def test_apt_get_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "apt-get").write_text("#!/bin/sh\nexit 100\n")
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(Trouble, match="apt-get install flex failed: exit status 100"):
        host.install(["flex"])
