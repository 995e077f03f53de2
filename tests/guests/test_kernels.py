# SPDX-License-Identifier: GPL-2.0
"""Kernels of others: what does not boot is told in seconds, and what has no zctap is tested all
the same.
"""

from pathlib import Path

import pytest

from lib.trouble import Trouble
from lib.vm import cache, debian, kbuild, source
from tests.guests.conftest import Runner

NOTHING = "def test_nothing(): pass\n"


@pytest.fixture
def halting(tmp_path: Path) -> Path:
    """The reference kernel with cli; hlt; jmp to the hlt where its 32-bit code begins."""
    image = kbuild.kernel_for(source.debian(), "plain").image
    data = bytearray(image.read_bytes())
    # setup_sects: Documentation/x86/boot.rst, "Details of Header Fields"
    begin = (data[0x1F1] + 1) * 512
    data[begin : begin + 4] = b"\xfa\xf4\xeb\xfd"
    (tmp_path / "bzImage").write_bytes(data)
    return tmp_path / "bzImage"


@pytest.fixture(scope="module")
def package() -> debian.Unpacked:
    """A stock kernel, modular and without zctap."""
    try:
        return debian.kernel("6.1")
    except Trouble as err:
        pytest.skip(f"Debian's kernel cannot be had here: {err}")


@pytest.mark.parametrize(("flags", "status"), [((), 2), (("--bisect-run",), 125)], ids=str)
def test_kernel_that_halts_at_once(
    runner: Runner, halting: Path, flags: tuple[str, ...], status: int
):
    found = runner(NOTHING, "--kernel", str(halting), *flags)
    assert found.status == status, found.said
    assert "the guest does not boot: its console stays empty" in found.said
    assert found.ktap == ""


def test_modular_kernel_without_its_modules(runner: Runner, package: debian.Unpacked):
    found = runner(NOTHING, "--kernel", str(package.image))
    assert found.status == 2, found.said
    assert "Unable to mount root fs" in found.said
    assert "a modular kernel needs --modules" in found.said.splitlines()[-1]


@pytest.mark.parametrize("by_name", [True, False], ids=["by-name", "by-files"])
def test_stock_kernel_tests_what_it_can(runner: Runner, package: debian.Unpacked, by_name: bool):
    files = ("--kernel", str(package.image), "--modules", str(package.place))
    modules = [f"selftests/zctap/{name}.py" for name in ("test_ring_buffers", "test_zero_copy")]
    chosen = ("--debian", "6.1") if by_name else files
    found = runner(NOTHING, *chosen, *modules)
    assert found.status == 0, found.said
    # All of the ring library's, and none that zctap is needed for.
    parts = {part.splitlines()[0]: part for part in found.ktap.split("# Subtest: ")[1:]}
    assert "# SKIP" not in parts["selftests/zctap/test_ring_buffers.py"]
    assert "test_zero_copy.py # SKIP all of its tests" in found.ktap
    assert set(found.verdicts.values()) == {"ok", "skip"}


def test_kernel_without_zctap_is_not_good_for_a_bisection(runner: Runner, package: debian.Unpacked):
    modules = [f"selftests/zctap/{name}.py" for name in ("test_ring_buffers", "test_zero_copy")]
    assert package.image.is_file()
    found = runner(NOTHING, "--debian", "6.1", "--bisect-run", *modules)
    assert found.status == 125, found.said
    assert found.said.splitlines()[-1] == "run_tests.py: no zctap in this kernel: no verdict"
    # What is asked for may need none.
    assert runner(NOTHING, "--debian", "6.1", "--bisect-run", modules[0]).status == 0


def test_restored_modular_guest_has_its_modules(runner: Runner, package: debian.Unpacked):
    text = "def test_it():\n    assert '/usr/lib/modules ' in open('/proc/mounts').read()\n"
    found = runner(text, "--debian", "6.1")
    assert found.verdicts == {"test_it": "ok"}, found.said
    assert cache.entry("debian", package.place.name)
