# SPDX-License-Identifier: GPL-2.0
"""The kernel's search for memory that nothing points to any more (CONFIG_DEBUG_KMEMLEAK).

A scan reads all memory: under emulation, on a debug kernel, it takes from 20 s to over a minute.
"""

import re
import time
from dataclasses import dataclass
from pathlib import Path

FILE = Path("/sys/kernel/debug/kmemleak")
# Younger objects are not reported (mm/kmemleak.c: MSECS_MIN_AGE), as of the start of a scan.
MIN_AGE = 5.0

_OBJECT = re.compile(r"^unreferenced object ", flags=re.MULTILINE)
_AGE = re.compile(r"\(age ([\d.]+)s\)")


@dataclass(frozen=True)
class Leak:
    """An object that nothing points to; `age` (s) is that at the time of the report."""

    age: float
    text: str


def parse(report: str) -> list[Leak]:
    """Return the objects of a report."""
    found = []
    for piece in _OBJECT.split(report)[1:]:
        age = _AGE.search(piece)
        found.append(Leak(float(age[1]) if age else 0.0, f"unreferenced object {piece.rstrip()}"))
    return found


def available() -> bool:
    """Whether the kernel keeps track of its memory; then it scans only when told from here on."""
    try:
        FILE.write_text("scan=off")
    except OSError:
        return False
    return True


def seen_so_far() -> list[Leak]:
    """Scan once, and return what has leaked, but for the latest: what this finds is not told again.

    For use after each part of a longer whole: what is too young, or new to a first scan, is left
    to the next one, and to leaks() at the end.
    """
    _scan()
    if not parse(FILE.read_text()):
        return []
    _scan()
    found = parse(FILE.read_text())
    FILE.write_text("clear")
    return found


def leaks(idle_since: float) -> list[Leak]:
    """Scan, and return what has leaked; `idle_since` (time.monotonic()) bounds its youngest age.

    An object's first scan only notes its content. The second one reports it if it is unchanged
    and old enough; a third has to confirm it, as pointers on the move are missed at times.
    """
    _scan()
    rest = idle_since + MIN_AGE + 0.5 - time.monotonic()
    if rest > 0:
        time.sleep(rest)  # the age of objects is all there is to wait for
    _scan()
    if not parse(FILE.read_text()):
        return []
    _scan()
    return parse(FILE.read_text())


def _scan() -> None:
    FILE.write_text("scan")
