# SPDX-License-Identifier: GPL-2.0
"""`bench` on the host's side: what it makes of the lines that come, and the files it leaves."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from lib.bench.case import WAYS, Setting
from lib.bench.measurement import Cpu, Measurement
from lib.bench.processors import Machine
from lib.run import bench
from lib.run.options import parse
from lib.run.program import Feed
from lib.trouble import Trouble


def line(way: str, number: int) -> bytes:
    setting = Setting(1500, True, 1, 65536)
    cpu, machine = Cpu(0.1, 0.2), Machine(0.5, 2, 0.9, 0.5, 0.4, 0)
    one = Measurement(way, setting, number, 1 << 20, 0.5, cpu, cpu, machine, 0, 0, 16, 4, 16, 0)
    return json.dumps({"ev": "measurement", **json.loads(one.to_json())}).encode() + b"\n"


class Canned:
    """A place where these lines are printed, in pieces that end anywhere."""

    facts = {"machine": "QEMU, KVM; 2 processors", "profile": "plain"}

    def __init__(
        self, text: bytes, status: int = 0, raises: type[BaseException] | None = None
    ) -> None:
        self.text, self.status, self.raises = text, status, raises
        self.arguments: list[str] = []

    def run(self, module: str, arguments: Sequence[str], feed: Feed) -> int:
        """Feed it."""
        assert module == "selftests.zctap.bench"
        self.arguments = list(arguments)
        for at in range(0, len(self.text), 7):
            feed(self.text[at : at + 7])
        if self.raises:
            raise self.raises
        return self.status


PLAN = b'{"ev": "plan", "total": 8, "calibrations": 1, "kernel": "6.1"}\n'


def test_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    text = PLAN + b"".join(line(way, number) for number in range(2) for way in WAYS)
    place = Canned(text + b"a warning\x1b\n")
    files = (tmp_path / "x.json", tmp_path / "x.html")
    asked = [
        "--rounds",
        "2",
        "--sizes",
        "64K",
        "--tso",
        "off,on",
        "--json",
        str(files[0]),
        "--html",
        str(files[1]),
    ]
    assert bench.run(parse(["bench", *asked]), place) == 0
    assert place.arguments == ["--rounds=2", "--sizes=65536", "--tso=off,on"]
    printed = capsys.readouterr()
    assert printed.out.startswith("Linux 6.1, profile plain; QEMU, KVM; 2 processors\n\n")
    assert "64 KiB writes, 1 flow, MTU 1500, TSO on" in printed.out
    assert printed.err == "a warning?\n"
    report = json.loads(files[0].read_text())
    assert len(report["measurements"]) == 8
    assert [row["way"] for row in report["rows"]] == list(WAYS)
    assert report["rows"][1]["ratios"]["goodput"]["median"] == 1.0
    assert report["facts"]["kernel"] == "6.1"
    assert (report["planned"], report["measured"]) == (8, 8)
    assert "<svg" in files[1].read_text()
    assert "incomplete" not in printed.out + files[0].read_text() + files[1].read_text()


@pytest.mark.parametrize("raises", [None, KeyboardInterrupt, Trouble])
@pytest.mark.parametrize("rounds", [0, 1])
def test_what_was_measured_is_reported_however_it_ends(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    rounds: int,
    raises: type[BaseException] | None,
):
    text = PLAN + b"".join(line(way, 0) for way in WAYS) * rounds + line("recv", 1)[:20]
    files = (tmp_path / "x.json", tmp_path / "x.html")
    options = parse(["bench", "--json", str(files[0]), "--html", str(files[1])])
    with pytest.raises(raises) if raises else contextlib.nullcontext():
        # Not even a status of 0 makes it whole.
        assert bench.run(options, Canned(text, 0, raises)) == 1
    said = f"incomplete: {4 * rounds} of 8 measurements"
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1] == said
    assert printed.err == ""
    report = json.loads(files[0].read_text())
    assert report["facts"]["incomplete"] == said
    assert (report["planned"], report["measured"]) == (8, 4 * rounds)
    assert said in files[1].read_text()


@pytest.mark.parametrize(
    "text", [b"bench: no zctap in this kernel\n", b"bench: no zctap in this kernel"]
)
def test_what_cannot_run_says_why(text: bytes, capsys: pytest.CaptureFixture[str]):
    assert bench.run(parse(["bench"]), Canned(text, 2)) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "bench: no zctap in this kernel\n")


def test_remarks_are_said_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    text = b'{"ev": "remark", "text": "one CPU"}\n' + PLAN
    text += b"".join(line(way, number) for number in range(2) for way in WAYS)
    report = tmp_path / "x.json"
    assert bench.run(parse(["bench", "--json", str(report)]), Canned(text)) == 0
    printed = capsys.readouterr()
    assert printed.err == "bench: one CPU\n"
    assert printed.out.splitlines()[1] == "one CPU"
    assert json.loads(report.read_text())["facts"]["remarks"] == "one CPU"


def test_a_debug_kernel_is_warned_of(capsys: pytest.CaptureFixture[str]):
    bench.run(parse(["bench", "--profile", "debug"]), Canned(b""))
    assert "a debug kernel" in capsys.readouterr().err


def test_calibrations_and_profiles_move_it_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(bench, "_LOG_EVERY", -1.0)
    profile = b'{"ev": "profile", "way": "copied", "setting": "s", "bytes": 1, "text": "x"}\n'
    text = b'{"ev": "plan", "total": 2, "calibrations": 1, "kernel": "6.1"}\n'
    text += b'{"ev": "calibrated", "setting": "s", "bytes": 1}\n'
    assert bench.run(parse(["bench", "--loop"]), Canned(text + 2 * profile)) == 0
    said = [line.split(",")[0] for line in capsys.readouterr().err.splitlines()]
    assert said == ["bench: 1 of 3", "bench: 2 of 3", "bench: 3 of 3"]
    assert bench.run(parse(["bench", "--loop"]), Canned(text + profile)) == 1
    assert "incomplete: 1 of 2 measurements" in capsys.readouterr().out


def test_profile_keeps_its_lines(capsys: pytest.CaptureFixture[str]):
    event = {"ev": "profile", "way": "copied", "setting": "s", "bytes": 1, "text": "one\ntwo"}
    bench.run(parse(["bench", "--loop"]), Canned(json.dumps(event).encode() + b"\n"))
    assert "\none\ntwo\n" in capsys.readouterr().out
