# SPDX-License-Identifier: GPL-2.0
"""Traces are decoded by the tree's own script where there are symbols, and never lost."""

from pathlib import Path

import pytest

from lib.vm.decode import decoded
from lib.vm.kbuild import Symbols

TRACE = ["[   1.0] Call Trace:", "[   1.0]  io_zctap_refill+0x11/0x40"]


def symbols(folder: Path, script: str) -> Symbols:
    (folder / "scripts").mkdir()
    (folder / "scripts" / "decode_stacktrace.sh").write_text(script)
    return Symbols(folder / "vmlinux", folder)


def test_script_of_the_tree_decodes(tmp_path: Path):
    found = symbols(tmp_path, 'echo "$1 $2"; sed "s/+0x11.*/ (io_uring\\/zctap.c:7)/"')
    assert decoded([*TRACE, "[   1.0] Code: 40 00 <48> 8b"], found) == [
        f"{tmp_path / 'vmlinux'} {tmp_path}",
        TRACE[0],
        "[   1.0]  io_zctap_refill (io_uring/zctap.c:7)",
    ]


@pytest.mark.parametrize("script", ["exit 1", "true", "kill -9 $$"])
def test_script_that_fails_costs_nothing(tmp_path: Path, script: str):
    assert decoded(TRACE, symbols(tmp_path, script)) == TRACE


def test_without_symbols_or_addresses_nothing_is_run(tmp_path: Path):
    assert decoded(TRACE, None) == TRACE
    assert decoded(TRACE[:1], symbols(tmp_path, "echo run")) == TRACE[:1]
