# SPDX-License-Identifier: GPL-2.0
"""What the demo says of the stream: how it goes, and whether it went as it has to."""

import time
import zlib

from lib.procfs import anonymous_kib
from lib.sizes import size_of
from lib.zctap import Entry
from netns.dial import AnyLink

SHARE, GROWTH = 0.998, 1024  # of the bytes, without a copy; KiB of memory


def tell(what: str, text: str) -> None:
    """Print a line, at once."""
    print(f"{what:<9} {text}", flush=True)


class Watch:
    """Counts what arrives, and says every second how it goes."""

    def __init__(self, entry: Entry | None) -> None:
        """entry: of the ifq in debugfs, if that can be read."""
        self.zero_copy = self.copied = self.checksum = self._before = 0
        self._entry, self._begin = entry, time.monotonic()
        self._said = self._begin
        self._warm: int | None = None  # KiB of memory, once all of it has been in use

    def look(self, _number: int, data: memoryview, zero_copy: bool) -> None:
        """This is the next piece of the stream."""
        self.checksum = zlib.crc32(data, self.checksum)
        if zero_copy:
            self.zero_copy += len(data)
        else:
            self.copied += len(data)

    @property
    def total(self) -> int:
        """Bytes."""
        return self.zero_copy + self.copied

    def growth(self) -> int:
        """Of this process's memory, since a second after the beginning (KiB)."""
        return anonymous_kib() - self._warm if self._warm is not None else 0

    def tick(self) -> None:
        """Say how it goes, every second."""
        now = time.monotonic()
        if (passed := now - self._said) >= 1:
            self.say(f"{now - self._begin:.0f} s", (self.total - self._before) / passed)
            self._said, self._before = now, self.total
            if self._warm is None:
                self._warm = anonymous_kib()

    def say(self, when: str, rate: float) -> None:
        """Print where the bytes and the pages are."""
        text = f"{size_of(self.zero_copy)} zero-copy, {size_of(self.copied)} copied"
        text += f", {size_of(rate)}/s"
        if self._entry:  # debugfs is there
            now = self._entry.accounting()
            text += f"; pages: {now.free} free, {now.driver} driver, {now.skb} skb, {now.user} user"
        if self._warm is not None:
            text += f"; memory: {self.growth():+} KiB"
        tell(when, text)

    def verdict(self, theirs: str, link: AnyLink) -> bool:
        """Say whether it went as it has to."""
        ours, share = f"{self.checksum:08x}", self.zero_copy / max(self.total, 1)
        low, more = share < SHARE and not link.copies, self.growth() >= GROWTH
        wanted = f": LOW, {SHARE:.1%} of a bulk stream have to" if low else ""
        tell("share", f"{share:.2%} of the bytes came without a copy{wanted}")
        tell("checksum", f"sent {theirs}, received {ours}" + ("" if theirs == ours else ": WRONG"))
        if more:
            tell("memory", f"GROWS: {self.growth()} KiB in the course of the stream")
        return theirs == ours and not low and not more
