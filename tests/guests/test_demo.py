# SPDX-License-Identifier: GPL-2.0
"""The demo in a real guest: what it says, and how it ends where it cannot run."""

import re
import subprocess
import sys

import pytest

from tests.guests.conftest import ROOT, is_built


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `./run_tests.py demo`."""
    command = [sys.executable, str(ROOT / "run_tests.py"), "demo", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(autouse=True)
def _built() -> None:
    if not is_built():
        pytest.skip("the reference kernel is not built: ./run_tests.py build")


def test_demo_receives_without_a_copy():
    done = demo("--bytes", "8M", "--dump", "2")
    assert done.returncode == 0, done.stderr
    found = re.search(r"^checksum  sent (\w+), received (\w+)$", done.stdout, re.MULTILINE)
    assert found and found[1] == found[2]
    share = re.search(r"^share +([\d.]+)%", done.stdout, re.MULTILINE)
    assert share and float(share[1]) >= 99.8
    # Ethernet, IPv4, TCP with timestamps.
    assert "frame 2   66 bytes of headers, into the kernel's memory" in done.stdout
    assert "200 bytes of payload, into page" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("released")


def test_demo_without_zctap_says_so():
    done = demo("--debian", "6.1")
    if "no Debian mirror" in done.stderr or "cannot be fetched" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 2
    assert done.stdout.startswith("demo: no zctap in this kernel: ")
    assert "Traceback" not in done.stdout + done.stderr
