# SPDX-License-Identifier: GPL-2.0
"""DMA mappings counted."""

from pathlib import Path

from lib.dma import mapped


def test_mappings(tmp_path: Path) -> None:
    assert mapped(tmp_path) is None
    (tmp_path / "nr_total_entries").write_text("65536\n")
    assert mapped(tmp_path) is None
    (tmp_path / "num_free_entries").write_text("65280\n")
    assert mapped(tmp_path) == 256
