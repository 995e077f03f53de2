# SPDX-License-Identifier: GPL-2.0
"""Several pieces of work at once, all of them with guests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from lib.vm import qemu


def together(work: Sequence[Callable[[], None]], at_once: int) -> None:
    """Do all pieces, so many at a time, each in a thread.

    If one fails, or the user has had enough, all guests end, and nothing more is begun.
    """
    with ThreadPoolExecutor(at_once) as pool:
        futures = [pool.submit(piece) for piece in work]
        try:
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            qemu.stop()
            raise
