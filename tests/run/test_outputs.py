# SPDX-License-Identifier: GPL-2.0
"""The files a run leaves: there is a word about one that cannot be written before it begins."""

import os
import select
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree as ET

import pytest

from lib.report.model import Result, Run
from lib.run import outputs
from lib.run.options import Options
from lib.run.session import Lost, Session
from lib.run.supervise import Supervisor
from lib.trouble import Trouble


def test_check_leaves_everything_as_it_was(tmp_path: Path):
    (tmp_path / "old.html").write_text("of an earlier run")
    outputs.check(Options(html=tmp_path / "old.html", junit=tmp_path / "new.xml"))
    assert (tmp_path / "old.html").read_text() == "of an earlier run"
    assert [path.name for path in tmp_path.iterdir()] == ["old.html"]


def test_check_leaves_links_and_pipes_alone(tmp_path: Path):
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to("there.xml")
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    poller = select.poll()
    poller.register(reader)
    outputs.check(Options(junit=link, events=pipe))
    assert [path.name for path in tmp_path.iterdir() if path not in (link, pipe)] == []
    assert link.is_symlink()
    assert poller.poll(0) == []  # not even a hang-up, which a reader takes for the end
    os.close(reader)


@pytest.mark.parametrize("option", ["events", "junit", "html"])
def test_file_that_cannot_be_written_is_trouble(option: str):
    with pytest.raises(Trouble, match="cannot write /proc/none: "):
        outputs.check(replace(Options(), **cast("dict[str, Any]", {option: Path("/proc/none")})))


def test_interrupted_run_leaves_its_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    options = Options(junit=tmp_path / "x.xml", html=tmp_path / "x.html")
    write = outputs.writer(options, time.monotonic(), "CONFIG_SMP=y")
    supervisor = Supervisor([], 0.0, [write], facts=outputs.facts(profile="plain"))
    session = Session(supervisor, "guest-1", 60)

    def work() -> None:
        session.feed(b'{"ev": "session", "tests": ["m.py::a", "m.py::b"], "kernel": "6.1"}\n')
        session.feed(b'{"ev": "start", "id": "m.py::a"}\n')
        session.lose(Lost("interrupted", "interrupted", []), all_of_it=True)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        supervisor.over(work)
    errors = list(ET.parse(tmp_path / "x.xml").iter("error"))
    assert [error.get("type") for error in errors] == ["interrupted", "not run"]
    text = (tmp_path / "x.html").read_text()
    assert "1 interrupted" in text
    assert "CONFIG_SMP=y" in text


def test_report_that_gets_lost_is_no_success(capsys: pytest.CaptureFixture[str]):
    write = outputs.writer(Options(junit=Path("/dev/full")), time.monotonic())
    supervisor = Supervisor([], 0.0, [write])
    session = Session(supervisor, "guest-1", 60)
    session.feed(b'{"ev": "session", "tests": ["m.py::a"]}\n')
    session.feed(b'{"ev": "result", "id": "m.py::a", "outcome": "passed"}\n')
    assert supervisor.finish() == 2
    assert "run_tests.py: cannot write /dev/full: No space left" in capsys.readouterr().err


def test_nothing_is_written_that_was_not_asked_for(tmp_path: Path):
    run = Run(tests=["m.py::a"])
    run.take([Result("m.py::a", "passed")])
    outputs.writer(Options(), time.monotonic())(run)
    assert not list(tmp_path.iterdir())
