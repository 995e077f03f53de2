# SPDX-License-Identifier: GPL-2.0
"""What becomes of a program whose streams are closed, full, or of a small character set."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = f"{sys.executable} {ROOT / 'run_tests.py'}"


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", command],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_full_disk_is_one_line_and_no_verdict():
    done = shell(f"{_PROGRAM} contract > /dev/full")
    assert done.returncode == 2
    assert re.fullmatch(r"run_tests.py: .*No space left on device.*\n", done.stderr), done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_what_python_keeps_back_is_written_or_missed(unbuffered: str):
    text = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from lib.run import streams\n"
        "try: print('out'); status = 0\n"
        "except OSError: status = 2\n"
        "sys.exit(streams.written_out(status))"
    )
    done = shell(f'exec {sys.executable} -c "{text}" > /dev/full', PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 2
    assert "Exception" not in done.stderr


def test_reader_that_stops_needs_no_explanation():
    done = shell(f"{_PROGRAM} contract | true")
    assert "Exception" not in done.stderr and "run_tests.py" not in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(closed: str):
    text = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from lib.run import streams\n"
        "streams.make_sure(); import os; print('out'); print('err', file=sys.stderr)\n"
        "descriptors = [os.open('/', os.O_RDONLY) for _ in range(2)]\n"
        "sys.exit(streams.written_out(0 if min(descriptors) > 2 else 9))"
    )
    done = shell(f'exec {sys.executable} -c "{text}" {closed}')
    assert done.returncode == 0
    assert done.stdout == ("" if " >" in f" {closed}" else "out\n")
    assert done.stderr == ("" if "2>" in closed else "err\n")


def test_what_a_character_set_does_not_have_is_printed_somehow():
    text = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from lib.run import streams\n"
        "streams.make_sure(); print(chr(0x2192), chr(0xd800))"
    )
    done = shell(f'exec {sys.executable} -c "{text}"', PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout) == (0, "\\u2192 \\ud800\n")


@pytest.mark.parametrize("ignored", [False, True])
def test_hangup_ends_it_as_an_interrupt_does_unless_it_is_ignored(ignored: bool):
    text = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from lib.run.ending import catch_signals\n"
        "import os, signal\n"
        f"signal.signal(signal.SIGHUP, signal.{'SIG_IGN' if ignored else 'SIG_DFL'})\n"
        "catch_signals()\n"
        "try: os.kill(os.getpid(), signal.SIGHUP); print('goes on')\n"
        "except KeyboardInterrupt: print('tidies up')"
    )
    done = shell(f'exec {sys.executable} -c "{text}"')
    assert done.stdout == ("goes on\n" if ignored else "tidies up\n")
