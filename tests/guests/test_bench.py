# SPDX-License-Identifier: GPL-2.0
"""The bench in a real guest: that it measures every way, and how it ends where it cannot run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lib.bench.case import WAYS
from tests.guests.conftest import ROOT, is_built


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `./run_tests.py bench`."""
    command = [sys.executable, str(ROOT / "run_tests.py"), "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(autouse=True)
def _built() -> None:
    if not is_built():
        pytest.skip("the reference kernel is not built: ./run_tests.py build")


def test_every_way_is_measured(tmp_path: Path):
    files = (tmp_path / "bench.json", tmp_path / "bench.html")
    few = ("--rounds", "1", "--sizes", "64K", "--flows", "2", "--mtus", "9000")
    done = bench(*few, "--json", str(files[0]), "--html", str(files[1]))
    assert done.returncode == 0, done.stderr
    for tso in ("on", "off"):
        assert f"64 KiB writes, 2 flows, MTU 9000, TSO {tso}" in done.stdout
    found = json.loads(files[0].read_text())["measurements"]
    assert sorted(one["way"] for one in found) == sorted([*WAYS, *WAYS])
    for one in found:
        assert one["bytes"] >= 1 << 20
        came = one["zero_copy"] + one["copied"]
        assert came == (one["bytes"] if one["way"] in ("copied", "zero-copy") else 0)
        if one["way"] == "copied":
            assert not one["zero_copy"]
        if one["way"] == "zero-copy":
            assert one["zero_copy"] >= 0.998 * one["bytes"]
    assert "<svg" in files[1].read_text()


def test_card_that_copies_is_measured_in_the_ways_it_has():
    done = bench("--card", "macvlan", "--rounds", "1", "--sizes", "64K", "--flows", "1")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0] for line in done.stdout.splitlines() if " [" in line}
    assert rows == {*WAYS} - {"zero-copy"}
    assert "card: the driver does not know XDP_SETUP_ZCTAP" in done.stdout


def test_profile_of_the_loop():
    done = bench("--loop", "--sizes", "64K", "--flows", "1", "--mtus", "1500", "--tso", "on")
    assert done.returncode == 0, done.stderr
    assert "(enter)" in done.stdout


def test_bench_without_zctap_says_so():
    done = bench("--debian", "6.1")
    if "no Debian mirror" in done.stderr or "cannot be fetched" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("bench: no zctap in this kernel: ")
    assert done.stdout == ""
