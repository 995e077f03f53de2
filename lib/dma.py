# SPDX-License-Identifier: GPL-2.0
"""What DMA_API_DEBUG knows (Documentation/core-api/dma-api.rst, part III)."""

from pathlib import Path

_ROOT = Path("/sys/kernel/debug/dma-api")


def mapped(root: Path = _ROOT) -> int | None:
    """DMA mappings there are in the whole system; None where nobody counts them."""
    try:
        total, free = (
            int((root / name).read_text()) for name in ("nr_total_entries", "num_free_entries")
        )
    except OSError:
        return None
    return total - free
