# SPDX-License-Identifier: GPL-2.0
"""What a terminal shows in the end: KTAP and remarks as they are, and nothing left of the bar."""

import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from lib.report.model import Result
from lib.run.view import View

ROOT = Path(__file__).resolve().parents[2]
RUN = """
import json, sys, time
from lib.run.session import Lost, Session
from lib.run.supervise import Supervisor
from lib.run.view import view
from lib.say import say

supervisor = Supervisor([], 0.0, sessions=2, view=view({"m.py::a": 1.0}, 2))
one, two = (Session(supervisor, name, 60) for name in ("guest-1", "guest-2"))
def send(session, **event):
    session.feed(json.dumps(event).encode() + b"\\n")
    time.sleep(0.12)  # tqdm draws ten times a second
def work():
    send(one, ev="session", tests=["m.py::a", "m.py::b", "m.py::c"])
    send(two, ev="session", tests=["n.py::a"])
    send(one, ev="result", id="m.py::a", outcome="passed")
    send(two, ev="result", id="n.py::a", outcome="failed", detail="E   AssertionError: held back")
    say("a remark")
    send(one, ev="result", id="m.py::b", outcome="failed", detail="E   AssertionError: at once")
    send(one, ev="start", id="m.py::c")
    one.lose(Lost("panic", "the guest panicked", []), all_of_it=True)
sys.exit(supervisor.over(work))
"""
FAILED = ["failed: n.py::a", "    AssertionError: held back"]
NOTICES = [
    *FAILED,
    "a remark",
    "failed: m.py::b",
    "    AssertionError: at once",
    "panic: m.py::c",
    "    the guest panicked",
]


def run_in_terminal(stdout: Path | int | None = None) -> tuple[int, str]:
    """Run it in a terminal, stdout there, too, or elsewhere; return what the terminal got."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 100))
    out = stdout.open("w") if isinstance(stdout, Path) else slave if stdout is None else stdout
    process = subprocess.Popen(
        [sys.executable, "-c", RUN],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"},
        stdout=out,
        stderr=slave,
    )
    os.close(slave)
    got = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        got += piece
    os.close(master)
    return process.wait(), got.decode()


def screen(got: str) -> list[str]:
    """Return the lines that are left: a carriage return goes back, and what follows overwrites."""
    lines = []
    for line in got.replace("\r\n", "\n").split("\n"):
        shown = ""
        for part in line.split("\r"):
            shown = part + shown[len(part) :]
        lines.append(shown.rstrip())
    return lines


def test_ktap_and_the_bar_share_a_terminal():
    status, got = run_in_terminal()
    assert status == 1
    assert re.search(r"tests  50%\|█+ +\| 2/4, 1 failed, \d+ s left", got)
    lines = [line for line in screen(got) if line]
    assert not [line for line in lines if line.startswith("tests")]
    assert lines[:7] == [
        "KTAP version 1",
        "1..2",
        lines[2],  # how long it took
        "  KTAP version 1",
        "  # Subtest: m.py",
        "  1..3",
        "  ok 1 a",
    ]
    # Told at once, since KTAP has to wait for its module; what KTAP tells at once is not.
    assert lines[7:12] == [
        *FAILED,
        "a remark",
        "  # b: E   AssertionError: at once",
        "  not ok 2 b",
    ]
    assert "  not ok 3 c # ERROR panic: the guest panicked" in lines
    assert lines[-5:-1] == ["not ok 2 n.py", "failed: n.py::a", "failed: m.py::b", "panic: m.py::c"]


def test_failures_are_told_where_ktap_goes_to_a_file(tmp_path: Path):
    status, got = run_in_terminal(tmp_path / "ktap")
    lines = [line for line in screen(got) if line]
    assert status == 1
    assert "| 2/4, 1 failed" in got
    assert lines[1:8] == NOTICES
    assert (tmp_path / "ktap").read_text().endswith("not ok 2 n.py\n")


def test_no_bar_beside_a_pipe_whose_reader_may_print():
    read, write = os.pipe()
    _, got = run_in_terminal(write)
    os.close(write)
    os.close(read)
    assert "\r" not in got.replace("\r\n", "\n")
    assert got.replace("\r\n", "\n").splitlines()[1:8] == NOTICES


def test_log_gets_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("lib.run.view._LOG_EVERY", 0.0)
    view = View({"m::a": 2.0, "m::b": 2.0})
    view.begin()
    view.announce(["m::a", "m::b"])
    view.result(Result("m::a", "failed", detail="E   \x1b[31mred"), printed=True)
    view.close()
    said = capsys.readouterr().err.splitlines()
    assert said == ["tests: 1 of 2, 1 failed, 2 s left", "failed: m::a", "    ?[31mred"]
