# SPDX-License-Identifier: GPL-2.0
"""Kernel images and trees that are none."""

from pathlib import Path

import pytest

from lib.trouble import Trouble
from lib.vm import kbuild, source


def image_of(path: Path, flag: bytes, magic: bytes) -> Path:
    path.write_bytes(b"\0" * 0x1FE + flag + b"\xeb\x66" + magic + b"\0" * 100)
    return path


def test_image_with_the_magic_is_taken(tmp_path: Path):
    path = image_of(tmp_path / "bzImage", b"\x55\xaa", b"HdrS")
    assert kbuild.from_image(path, "plain").image == path


def test_what_is_booted_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = image_of(tmp_path / "bzImage", b"\x55\xaa", b"HdrS")
    before, kept = path.read_bytes(), kbuild.kept(path)
    assert kbuild.kept(path) == kept
    path.unlink()
    assert kept.read_bytes() == before
    with pytest.raises(Trouble, match="No such file"):
        kbuild.kept(path)


@pytest.mark.parametrize(("flag", "magic"), [(b"\0\0", b"HdrS"), (b"\x55\xaa", b"ELF!")])
def test_image_without_the_magic_is_refused(tmp_path: Path, flag: bytes, magic: bytes):
    with pytest.raises(Trouble, match="not an x86 kernel image"):
        kbuild.from_image(image_of(tmp_path / "vmlinux", flag, magic), "plain")


def test_short_missing_and_strange_images_are_refused(tmp_path: Path):
    (tmp_path / "empty").touch()
    with pytest.raises(Trouble, match="not an x86 kernel image"):
        kbuild.from_image(tmp_path / "empty", "plain")
    with pytest.raises(Trouble, match="No such file"):
        kbuild.from_image(tmp_path / "none", "plain")
    with pytest.raises(Trouble, match="Is a directory"):
        kbuild.from_image(tmp_path, "plain")


def test_tree_that_is_none_is_refused(tmp_path: Path):
    with pytest.raises(Trouble, match="no such directory"):
        source.of_tree(tmp_path / "none", with_series=False)
    with pytest.raises(Trouble, match="not a kernel source tree"):
        source.of_tree(tmp_path, with_series=False)
