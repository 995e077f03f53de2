# SPDX-License-Identifier: GPL-2.0
"""A kernel's modules are found, and told from another's."""

import lzma
from pathlib import Path

import pytest

from lib.trouble import Trouble
from lib.vm import kbuild, modular
from lib.vm.kbuild import Kernel

RELEASE = "6.1.0-50-amd64"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A root file system with the modules of one kernel; their directory."""
    path = tmp_path / "usr" / "lib" / "modules" / RELEASE
    (path / "kernel").mkdir(parents=True)
    (path / "kernel" / "veth.ko").write_bytes(b"veth")
    return path


def image(path: Path, release: str) -> Path:
    """Write what looks like a bzImage."""
    head = bytearray(0x400)
    head[0x1FE:0x200] = b"\x55\xaa"
    head[0x202:0x206] = b"HdrS"
    if release:
        head[0x20E:0x210] = (0x100).to_bytes(2, "little")
        text = f"{release} (debian-kernel) #1 SMP".encode() + b"\0"
        head[0x300 : 0x300 + len(text)] = text
    path.write_bytes(head)
    return path


def test_modules_are_found_from_above(directory: Path):
    for place in (directory, directory.parent, directory.parents[3]):
        assert modular.find(place) == directory


def test_modules_of_several_kernels_are_no_answer(directory: Path):
    (directory.parent / "7.3" / "kernel").mkdir(parents=True)
    with pytest.raises(Trouble, match=f"of several kernels: {RELEASE}, 7.3; name one"):
        modular.find(directory.parent)
    assert modular.find(directory) == directory


@pytest.mark.parametrize("there", [True, False])
def test_a_directory_without_modules_is_told(tmp_path: Path, there: bool):
    with pytest.raises(Trouble, match="--modules"):
        modular.find(tmp_path if there else tmp_path / "nothing")


def test_an_image_tells_its_release(tmp_path: Path):
    assert kbuild.release(image(tmp_path / "a", RELEASE)) == RELEASE
    assert kbuild.release(image(tmp_path / "b", "")) == ""


def test_modules_of_another_kernel_are_refused(tmp_path: Path, directory: Path):
    kernel = Kernel(image(tmp_path / "image", "7.3.4"), "plain", "", None, cached=True)
    with pytest.raises(Trouble, match=f"is 7.3.4, its modules are for {RELEASE}"):
        modular.with_modules(kernel, directory)


def test_a_link_to_a_module_that_is_gone(directory: Path):
    before = modular._listing(directory)
    (directory / "weak-updates").mkdir()
    (directory / "weak-updates" / "x.ko").symlink_to("/lib/modules/gone/x.ko")
    assert modular._listing(directory) == before


def test_a_module_that_was_built_again_is_another(directory: Path):
    before = modular._listing(directory)
    (directory / "kernel" / "veth.ko").write_bytes(b"vethx")
    assert modular._listing(directory) != before


@pytest.mark.parametrize("suffix", ["", ".xz"])
def test_modules_are_unpacked_for_busybox(tmp_path: Path, suffix: str):
    path = tmp_path / f"veth.ko{suffix}"
    path.write_bytes(lzma.compress(b"veth") if suffix else b"veth")
    assert modular._content(path) == b"veth"
