# SPDX-License-Identifier: GPL-2.0
"""How much kernel memory is in use, by the caches it comes from."""

from contextlib import suppress
from pathlib import Path

_SLABINFO = Path("/proc/slabinfo")
CACHES = Path("/sys/kernel/slab")


def objects(*prefixes: str) -> dict[str, int] | None:
    """Objects in use of each cache whose name begins so (/proc/slabinfo); None where none is shown.

    What processors have put aside would count as in use, and with KASAN what is in quarantine. So
    the caches are asked to let go of it first (Documentation/ABI/testing/sysfs-kernel-slab, shrink;
    root only), where SLUB lets itself be asked.
    """
    try:
        lines = [line.split() for line in _SLABINFO.read_text().splitlines()[2:]]
        names = [line[0] for line in lines if line[0].startswith(prefixes)]
        for name in names:
            with suppress(OSError):
                (CACHES / name / "shrink").write_text("1")
        lines = [line.split() for line in _SLABINFO.read_text().splitlines()[2:]]
    except OSError:
        return None
    return {line[0]: int(line[1]) for line in lines if line[0] in names}
