# SPDX-License-Identifier: GPL-2.0
"""Running make: with a shell in its place."""

import os
import time
from pathlib import Path

import pytest

from lib.trouble import Trouble
from lib.vm import make


def run(tmp_path: Path, script: str) -> None:
    with (tmp_path / "lock").open("w") as lock:
        make.run(["sh", "-c", script], {}, tmp_path / "log", tmp_path / "steps", (lock.fileno(),))


def test_longest_build_is_remembered(tmp_path: Path):
    for steps in ("  CC      a.o\n  CC      b.o\n  LD      c", "  CC      a.o"):
        run(tmp_path, f"echo '{steps}'")
    assert (tmp_path / "steps").read_text() == "3"


def test_a_memory_that_was_not_written_whole_is_none(tmp_path: Path):
    (tmp_path / "steps").touch()
    run(tmp_path, "echo '  CC      a.o'")
    assert (tmp_path / "steps").read_text() == "1"


def test_failure_shows_the_errors_and_names_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    script = "echo '  CC a.o'; echo \"a.c:1:2: error: no ';'\" >&2; echo 'make: *** [a.o]'; exit 2"
    with pytest.raises(Trouble, match="does not build") as caught:
        run(tmp_path, script)
    assert str(tmp_path / "log") in str(caught.value)
    assert capsys.readouterr().err.splitlines() == [
        "make: a.c:1:2: error: no ';'",
        "make: make: *** [a.o]",
    ]


def test_interrupted_make_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(make, "_progress", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, f"echo $$ > {tmp_path}/pid; sleep 100")
    pid = int((tmp_path / "pid").read_text()) if (tmp_path / "pid").exists() else 0
    time.sleep(0.1)
    assert not pid or not os.path.exists(f"/proc/{pid}")
