# SPDX-License-Identifier: GPL-2.0
"""When a kernel is taken to have zctap."""

import struct
from pathlib import Path

import pytest

from lib.zctap import NoZctap, Zctap
from lib.zctap.probe import look
from tests.lib.test_btf import btf, record


def enum(*members: tuple[str, int]) -> bytes:
    strings, values = b"\0", b""
    for name, value in members:
        values += struct.pack("<Ii", len(strings), value)
        strings += name.encode() + b"\0"
    return btf(record(6, len(members), values), strings=strings)


@pytest.fixture
def vmlinux(tmp_path: Path) -> Path:
    return tmp_path / "vmlinux"


@pytest.fixture
def debugfs(tmp_path: Path) -> Path:
    (tmp_path / "zctap").mkdir()
    return tmp_path / "zctap"


def test_numbers_come_from_btf(vmlinux: Path, debugfs: Path) -> None:
    names = ("IORING_OP_RECV_ZC", "IORING_REGISTER_IFQ", "IORING_UNREGISTER_IFQ")
    vmlinux.write_bytes(enum(*zip(names, (51, 31, 32), strict=True)))
    assert look(None, vmlinux, debugfs) == Zctap(51, 31, 32, "the kernel's BTF")


def test_no_unregistration_in_btf(vmlinux: Path, debugfs: Path) -> None:
    vmlinux.write_bytes(enum(("IORING_OP_RECV_ZC", 49), ("IORING_REGISTER_IFQ", 26)))
    (debugfs / "version").write_text("1\n")
    assert look(None, vmlinux, debugfs).unregister_ifq is None


def test_mainline_zero_copy_is_not_zctap(vmlinux: Path, debugfs: Path) -> None:
    vmlinux.write_bytes(enum(("IORING_OP_RECV_ZC", 58), ("IORING_REGISTER_ZCRX_IFQ", 32)))
    with pytest.raises(NoZctap, match="does not name IORING_OP_RECV_ZC together"):
        look(None, vmlinux, debugfs)


def test_debugfs_alone_is_enough_and_is_said(vmlinux: Path, debugfs: Path) -> None:
    (debugfs / "version").write_text("1\n")
    found = look(None, vmlinux, debugfs)
    assert (found.recv_zc, found.register_ifq, found.unregister_ifq) == (49, 26, 27)
    assert "table" in found.source
    assert "no BTF" in found.source


def test_neither(vmlinux: Path, debugfs: Path) -> None:
    with pytest.raises(NoZctap, match=r"it has no BTF; .*version: No such file"):
        look(None, vmlinux, debugfs)


def test_broken_btf(vmlinux: Path, debugfs: Path) -> None:
    vmlinux.write_bytes(bytes(100))
    with pytest.raises(NoZctap, match="cannot be read"):
        look(None, vmlinux, debugfs)


HEADER = """
enum io_uring_op {
	IORING_OP_NOP,
	/* IORING_OP_COMMENT, */
	IORING_OP_RECV_ZC,
	IORING_OP_LAST,
};
enum {
	IORING_REGISTER_BUFFERS			= 0,
	IORING_REGISTER_IFQ			= 26,
	IORING_UNREGISTER_IFQ,
};
"""


def test_header_of_the_tree_comes_first(tmp_path: Path, vmlinux: Path, debugfs: Path) -> None:
    vmlinux.write_bytes(enum(("IORING_OP_RECV_ZC", 49), ("IORING_REGISTER_IFQ", 26)))
    header = tmp_path / "io_uring.h"
    header.write_text(HEADER)
    assert look(header, vmlinux, debugfs) == Zctap(1, 26, 27, "the kernel's uapi header")
    header.write_text(HEADER.replace("REGISTER_IFQ", "REGISTER_ZCRX_IFQ"))
    assert look(header, vmlinux, debugfs).source == "the kernel's BTF"


def test_header_that_does_not_name_it(tmp_path: Path, vmlinux: Path, debugfs: Path) -> None:
    header = tmp_path / "io_uring.h"
    header.write_text("enum { IORING_OP_RECV_ZC };")
    with pytest.raises(NoZctap, match="its uapi header does not name"):
        look(header, vmlinux, debugfs)
