# SPDX-License-Identifier: GPL-2.0
"""The program for kselftest: when it skips, how it fails, and with which exit status."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from lib.run import kselftest, suite
from lib.setup import host, venv

PROGRAM = suite.ROOT / "selftests" / "zctap" / "zctap.py"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch):
    """A machine on which the suite can run, no virtual environment, no handlers for signals."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(venv, "active", lambda: False)
    monkeypatch.setattr(venv, "python", lambda: None)
    monkeypatch.setattr(kselftest, "catch_signals", lambda: None)


def skipped(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run, and return the reason for skipping everything."""
    assert kselftest.main(str(PROGRAM), [*arguments]) == 4
    head, plan, verdict = capsys.readouterr().out.splitlines()
    assert (head, plan) == ("KTAP version 1", "1..1")
    return verdict.removeprefix("ok 1 zctap # SKIP ")


def test_not_root(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert skipped(capsys).startswith("needs root")


def test_another_machine(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert skipped(capsys) == "the suite needs x86_64, this is riscv64"


def test_missing_packages(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kselftest, "_NEEDED", {"here": "os", "a": "no_a", "b": "no_b"})
    monkeypatch.setattr(venv, "create", forbidden)
    assert skipped(capsys).startswith("Python packages missing: a b;")


def test_packages_are_installed_when_that_is_allowed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    called = []
    monkeypatch.setattr(host, "missing", lambda wanted: [])
    monkeypatch.setattr(venv, "create", lambda: Path("/venv/bin/python"))
    monkeypatch.setattr(os, "execv", lambda path, words: called.append(words))
    monkeypatch.setattr(kselftest, "_NEEDED", {"a": "no_a"})
    skipped(capsys, "--install", "-k", "x")
    assert called == [["/venv/bin/python", str(PROGRAM), "--install", "-k", "x"]]


def test_what_is_wrong_is_no_skip(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kselftest, "_NEEDED", {})
    assert kselftest.main(str(PROGRAM), ["--nonsense"]) == 1
    assert kselftest.main(str(PROGRAM), ["no/such/test.py"]) == 1
    monkeypatch.setattr(kselftest, "_check_machine", forbidden)
    monkeypatch.setenv("XDG_CACHE_HOME", os.devnull)
    assert kselftest.main(str(PROGRAM), []) == 1
    said = capsys.readouterr().out.splitlines()
    assert [line.startswith("Bail out! ") for line in said] == [True] * 3


def forbidden() -> NoReturn:
    raise AssertionError("nobody asked for it")


def test_program_without_the_rest(tmp_path: Path):
    shutil.copy(PROGRAM, tmp_path)
    command = [sys.executable, str(tmp_path / PROGRAM.name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "\nok 1 zctap # SKIP lib/ is not here" in done.stdout


def test_runner_imports_no_package_that_is_not_asked_for():
    program = """import sys
before = set(sys.modules)
import lib.run.on_host, lib.run.known
for name in set(sys.modules) - before:
    if "." not in name and "site-packages" in (getattr(sys.modules[name], "__file__", None) or ""):
        print(name)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=suite.ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= set(kselftest._NEEDED.values())


def test_help():
    done = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True, check=True)
    assert "usage: zctap.py" in done.stdout
