# SPDX-License-Identifier: GPL-2.0
"""Commands of the host: what they say when they fail, and that they may tidy up."""

import signal
import sys
import time
from pathlib import Path

import pytest

from lib.trouble import Trouble
from lib.vm import command

_TIDIES = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path("lock").unlink(), sys.exit(1)))
{then}
time.sleep(60)
"""


def test_output_of_a_command_with_input():
    assert command.run(["cat"], stdin=b"in") == b"in"
    assert command.run(["cat"]) == b""


def test_failure_says_what_and_how():
    with pytest.raises(Trouble, match="exit status 3 from: sh -c 'echo why >&2; exit 3': why"):
        command.run(["sh", "-c", "echo why >&2; exit 3"])
    with pytest.raises(Trouble, match="no-such-command is not installed"):
        command.run(["no-such-command"])


def test_command_that_takes_too_long_may_tidy_up(tmp_path: Path):
    (tmp_path / "lock").touch()
    with pytest.raises(Trouble, match="no end after 5 s"):
        command.run([sys.executable, "-c", _TIDIES.format(then="")], cwd=tmp_path, deadline=5)
    assert not (tmp_path / "lock").exists()


def test_interrupted_command_may_tidy_up(tmp_path: Path):
    (tmp_path / "lock").touch()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's "&" ignores it
    then = "import os; os.kill(os.getppid(), signal.SIGINT)"
    try:
        with pytest.raises(KeyboardInterrupt):
            command.run([sys.executable, "-c", _TIDIES.format(then=then)], cwd=tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not (tmp_path / "lock").exists()


def test_command_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(command, "_TIDYING", 0.1)
    text = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    begin = time.monotonic()
    with pytest.raises(Trouble, match="no end after 5 s"):
        command.run([sys.executable, "-c", text], deadline=5)
    assert time.monotonic() - begin < 50
