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
    # TCP with timestamps.
    assert "frame 2   14+20+32 bytes of Ethernet, IP and TCP header, into" in done.stdout
    assert re.search(
        r"the kernel's memory; 200 bytes of payload:\n +200 bytes in page", done.stdout
    )
    assert done.stdout.splitlines()[-1].startswith("released")


def test_demo_without_zctap_says_so():
    done = demo("--debian", "6.1")
    if "no Debian mirror" in done.stderr or "cannot be fetched" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 2
    assert done.stdout.startswith("demo: no zctap in this kernel: ")
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("card", ["veth", "virtio-net"])
def test_demo_on_a_card(card: str):
    done = demo("--bytes", "2M", "--dump", "1", "--card", card)
    assert done.returncode == 0, done.stdout + done.stderr
    words = {"veth": "the region, offset 0", "virtio-net": "copy buffer"}
    assert words[card] in done.stdout
    assert re.search(r"^checksum  sent (\w+), received \1$", done.stdout, re.MULTILINE)
    share = {"veth": "100.00%", "virtio-net": "0.00%"}
    assert f"share     {share[card]} of the bytes came without a copy\n" in done.stdout
