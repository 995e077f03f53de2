# SPDX-License-Identifier: GPL-2.0
"""Whether a region is at rest (DBG-7): every reference accounted for by what the user did."""

from collections import Counter
from collections.abc import Callable, Iterable

from lib.deadline import wait_until
from lib.zctap.debugfs import Accounting, Entry, PageRefs
from lib.zctap.rings import FillRing
from lib.zerocopy import Region


def summed(refs: Iterable[PageRefs], pages: int) -> Accounting:
    """The accounting that these references amount to (BUF-4 says which of them goes first)."""
    count = Counter(
        "driver" if line.driver else "skb" if line.skb else "user" if line.user else "free"
        for line in refs
    )
    driver, skb, user = count["driver"], count["skb"], count["user"]
    return Accounting(pages - driver - skb - user, driver, skb, user, pages)


def unrest(entry: Entry, region: Region, fill: FillRing | None) -> str:
    """What is amiss, "" at rest.

    At rest no skb holds a page, every page is counted once, single references and accounting
    agree, and the user's references are the pieces he holds plus those of the entries that the
    kernel has not taken from the fill ring.
    """
    accounting, refs = entry.accounting(), entry.refs()
    if not accounting.conserved:
        return f"pages are not conserved (BUF-4): {accounting}"
    if accounting != summed(refs, region.pages):
        return f"references amount to {summed(refs, region.pages)}, but it is {accounting}"
    held_by_skbs = {line.page: line.skb for line in refs if line.skb}
    if accounting.skb or held_by_skbs:
        return f"skbs hold pages: {accounting.skb}, references {held_by_skbs}"
    return _wrong_user_references(
        Counter({line.page: line.user for line in refs if line.user}), +region.held, fill
    )


def _wrong_user_references(user: Counter[int], held: Counter[int], fill: FillRing | None) -> str:
    if held - user:
        return f"the user holds references that the kernel does not know of: {dict(held - user)}"
    rest = user - held
    if not rest or (fill is not None and fill.untaken(rest)):
        return ""
    return f"user references that are neither held nor in the fill ring: {dict(rest)}"


def wait_at_rest(
    entry: Entry, region: Region, fill: FillRing | None, flush: Callable[[], None]
) -> None:
    """Flush deferred frees until the region is at rest; TimeoutError says what is amiss."""

    def at_rest() -> bool:
        flush()
        return not unrest(entry, region, fill)

    wait_until(at_rest, lambda: f"{unrest(entry, region, fill)}\n{entry.dump()}", 2)


def wait_gone(entry: Entry, flush: Callable[[], None], seconds: float = 1.0) -> None:
    """Flush deferred frees until the region is gone (REL-1); TimeoutError shows its files."""

    def gone() -> bool:
        flush()
        return not entry.exists()

    wait_until(gone, lambda: f"the region was not released\n{entry.dump()}", seconds)
