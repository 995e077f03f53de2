# SPDX-License-Identifier: GPL-2.0
"""The file of events tells of the whole run, and no guest can speak for the host."""

import json
from pathlib import Path

import pytest

from lib.report.model import Result, Run, replay
from lib.run.eventfile import EventFile
from lib.run.session import Lost, Session
from lib.run.supervise import Supervisor


def read(path: Path) -> Run:
    return replay(path.read_bytes().split(b"\n")[:-1])


def test_replayed_run_is_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "events"
    supervisor = Supervisor([], 0.0, events=EventFile(path), facts={"profile": "plain"})
    session = Session(supervisor, "guest-1", 60)
    session.feed(b'{"ev": "session", "tests": ["m::a", "m::b", "m::c"], "kernel": "6.1"}\n')
    session.feed(b'{"ev": "result", "id": "m::a", "outcome": "passed", "duration": 0.5}\n')
    session.feed(b'{"ev": "start", "id": "m::b"}\n')
    left = session.lose(Lost("panic", "the guest panicked", ["console: BUG"]), all_of_it=False)
    other = Session(supervisor, "guest-2", 60, rest=left)
    other.lose(Lost("no guest", "it does not boot", []), all_of_it=True)
    assert supervisor.finish() == 1
    found = read(path)
    assert (found.results, found.tests) == (supervisor.run.results, supervisor.run.tests)
    assert found.results["m::b"].detail == "the guest panicked\nconsole: BUG"
    assert (found.facts, found.kernel, found.complaints) == ({"profile": "plain"}, "6.1", [])


CLAIM = b'{"ev": "result", "session": "host", "id": "m::a", "outcome": "panic"}'


@pytest.mark.parametrize(
    "line",
    [
        CLAIM,
        CLAIM.replace(b'"session": "host"', b'"session": "guest-1", "session": "host"'),
        b'{"ev": "run", "session": "host", "facts": {"profile": "other"}}',
        b"noise\r" + CLAIM,
        b"[" * 100000,
        b"[1]",
        b"\xff" + CLAIM,
    ],
)
def test_no_guest_speaks_for_the_host(tmp_path: Path, line: bytes):
    file = EventFile(tmp_path / "events")
    file.heard("guest-1", b'{"ev": "session", "tests": ["m::a"]}')
    file.heard("guest-1", line)
    found = read(tmp_path / "events")
    assert (found.results, found.facts, found.pending()) == ({}, {}, ["m::a"])
    assert len(found.complaints) == 1
    for text in (tmp_path / "events").read_text().splitlines():
        assert json.loads(text)["session"] == "guest-1"


def test_full_disk_is_said_once_and_is_no_success(capsys: pytest.CaptureFixture[str]):
    supervisor = Supervisor([], 0.0, events=EventFile(Path("/dev/full")))
    session = Session(supervisor, "guest-1", 60)
    session.feed(b'{"ev": "session", "tests": ["m::a"]}\n')
    session.feed(b'{"ev": "result", "id": "m::a", "outcome": "passed"}\n')
    assert supervisor.finish() == 2
    said = capsys.readouterr().err
    assert said.count("cannot write /dev/full: No space left on device") == 1


def test_host_s_result_may_be_any_but_no_nonsense():
    lines = [
        b'{"ev": "result", "session": "host", "id": "m::a", "outcome": "splendid"}',
        b'{"ev": "run", "session": "host", "facts": 7}',
        b'{"ev": "unheard-of", "session": "host"}',
    ]
    found = replay(lines)
    assert len(found.complaints) == 3
    assert not found.results
    assert (
        Result("guest-1", "crashed", reason="gone")
        in replay(
            [
                b'{"ev": "result", "session": "host", "id": "guest-1", "outcome": "crashed",'
                b' "reason": "gone"}'
            ]
        ).results.values()
    )
