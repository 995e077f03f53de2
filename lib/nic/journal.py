# SPDX-License-Identifier: GPL-2.0
"""What has been changed on a card, written down before it is changed, and undoing it.

Three kinds of lines after the header, each on the disk before anything else happens:

    will    n, kind, of, before, wanted     before the change
    did     n, after                        what the driver made of it
    undone  n                               it is as before, or was never changed

So whoever comes after a crash may find that a change is made, or not, or undone, without its line.
The card itself tells which: a setting that is as before needs nothing, one that is as it was
wanted, or as it became, is put back. One that is neither somebody else has changed: that is drift,
and stays as it is and in the journal.
"""

import errno
from collections.abc import Callable
from dataclasses import dataclass

from lib.nic.log import Line, Log
from lib.nic.settings import KINDS, Of, Setting, Value, title, words
from lib.trouble import Trouble

VERSION = 1

Open = Callable[[str, Of], Setting]  # kind, of


@dataclass
class Entry:
    """A change. `after` is None until it is known."""

    number: int
    kind: str
    of: Of
    before: Value
    wanted: Value
    after: Value = None
    undone: bool = False

    @property
    def title(self) -> str:
        """The setting, in words."""
        return title(self.kind, self.of)

    @property
    def key(self) -> tuple[str, str]:
        """Entries with the same one are of the same setting."""
        return self.kind, repr(sorted(self.of.items()))


@dataclass(frozen=True)
class Stuck:
    """An entry that could not be undone, and why."""

    entry: Entry
    why: str

    def __str__(self) -> str:
        return f"{self.entry.title}: {self.why}"


class Journal:
    """The journal of one card. `opener` gives its settings."""

    def __init__(self, log: Log, opener: Open) -> None:
        """Raises Trouble for a journal that is not understood, or not whole."""
        self.log, self._open = log, opener
        self.entries: list[Entry] = []
        try:
            for line in log.lines[1:]:
                self._read(line)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise Trouble(f"{log.path}: not understood ({error!r})") from error

    def _read(self, line: Line) -> None:
        number = int(line["n"])
        if line["ev"] == "will":
            entry = Entry(number, line["kind"], line["of"], line["before"], line["wanted"])
            _ = KINDS[entry.kind], entry.title  # raises what is wrong with it
            self.entries.append(entry)
            return
        found = [entry for entry in self.entries if entry.number == number]
        if not found and self.log.bad:  # its line is one of those
            return
        (entry,) = found
        if line["ev"] == "did":
            entry.after = line["after"]
        elif line["ev"] == "undone":
            entry.undone = True
        else:
            raise ValueError(line["ev"])

    def pending(self) -> list[Entry]:
        """What has been changed, and not been put back, the latest first."""
        return [entry for entry in reversed(self.entries) if not entry.undone]

    def change(self, kind: str, of: Of, wanted: Value) -> Value:
        """Change a setting; what it is then. Raises OSError, and Trouble if the journal cannot be
        written: then nothing is changed.
        """
        setting = self._open(kind, of)
        before = setting.read()
        if before == wanted:
            return before
        number = 1 + max((entry.number for entry in self.entries), default=0)
        entry = Entry(number, kind, of, before, wanted)
        self.log.append(
            {"ev": "will", "n": number, "kind": kind, "of": of, "before": before, "wanted": wanted}
        )
        self.entries.append(entry)
        try:
            setting.write(wanted)
        finally:
            self._look(entry, setting)
        return entry.after

    def take_back(self, kind: str, of: Of) -> None:
        """Undo the latest change of a setting, if there is one. Raises OSError."""
        key = Entry(0, kind, of, None, None).key
        for entry in self.pending():
            if entry.key == key:
                if why := self._undo(entry, force=False):
                    raise OSError(errno.EBUSY, f"{entry.title} {why}")
                return

    def _look(self, entry: Entry, setting: Setting) -> None:
        """See what has become of a change, be it refused or made halfway."""
        try:
            entry.after = setting.read()
        except OSError:
            return
        if entry.after == entry.before:
            self._note_undone(entry)
        else:
            self._note({"ev": "did", "n": entry.number, "after": entry.after})

    def undo(self, *, force: bool = False) -> list[Stuck]:
        """Put all back that is pending, the latest first; what could not be, and why.

        force: also what somebody else has changed. When nothing is left, the journal goes.
        """
        stuck: list[Stuck] = []
        for entry in self.pending():
            # What is behind one that is stuck cannot have become true.
            if entry.key in {one.entry.key for one in stuck}:
                continue
            try:
                why = self._undo(entry, force)
            except OSError as error:
                why = f"{words(entry.before)} cannot be put back: {error.strerror or error}"
            if why:
                stuck.append(Stuck(entry, why))
        if not self.pending():
            self.log.remove()
        return stuck

    def _undo(self, entry: Entry, force: bool) -> str:
        """Why it could not be undone; "" if it has been. Raises OSError."""
        setting = self._open(entry.kind, entry.of)
        now = setting.read()
        if now != entry.before:
            if not self._ours(entry, setting, now) and not force:
                return (
                    f"is {words(now)}, which is neither what it was ({words(entry.before)})"
                    f" nor what we set ({words(entry.wanted)})"
                )
            if (hindrance := setting.hindrance(entry.before)) and not force:
                return f"stays {words(now)}: {hindrance}"
            setting.write(entry.before)
            if (now := setting.read()) != entry.before:
                return f"is {words(now)} after {words(entry.before)} was put back"
        self._note_undone(entry)
        return ""

    @staticmethod
    def _ours(entry: Entry, setting: Setting, now: Value) -> bool:
        """Whether a value is what our change has made, or nobody's choice."""
        if now in (entry.after, entry.wanted) or setting.nobodys(now):
            return True
        return entry.after is None and setting.near(entry.wanted, now)

    def _note_undone(self, entry: Entry) -> None:
        entry.undone = True
        self._note({"ev": "undone", "n": entry.number})

    def _note(self, line: Line) -> None:
        """Write what the card itself tells, too: a full disk must not keep us from undoing."""
        try:
            self.log.append(line)
        except Trouble:
            return

    def close(self) -> None:
        """Let go of the file, which stays if anything is pending."""
        if not self.pending():
            self.log.remove()
        self.log.close()
