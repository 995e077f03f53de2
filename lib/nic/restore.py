# SPDX-License-Identifier: GPL-2.0
"""Journals that a run has left: putting back what is in them, and knowing when that is over."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lib.nic import log, netns, settings
from lib.nic.device import Device
from lib.nic.identity import SUFFIX, Identity, identity, of_header
from lib.nic.journal import Journal, Stuck
from lib.nic.lock import alone
from lib.trouble import Trouble


@dataclass
class Restored:
    """What came of it: lines for people, and what is still not as it was."""

    lines: list[str] = field(default_factory=list)
    stuck: list[Stuck] = field(default_factory=list)


def sweep(folder: Path) -> list[str]:
    """Drop the journals of this machine's earlier boots; a line for each."""
    lines = []
    for path, card in _journals(folder):
        if card and card.machine == netns.machine() and card.boot != netns.boot_id():
            path.unlink(missing_ok=True)
            lines.append(
                f"{card.ifname}: the machine was started again since a run was killed on it,"
                " so its settings are the system's again; the journal is dropped"
            )
    return lines


def left(folder: Path, device: Device) -> Path | None:
    """The journal of a card, if there is one to be seen. Raises OSError."""
    path = identity(device).path(folder)
    return path if os.access(path, os.R_OK, effective_ids=True) else None


def restore(folder: Path, device: Device, *, force: bool = False, forget: bool = False) -> Restored:
    """Put back what the journal of a card holds, if there is one; for who has it alone.

    force: also what somebody else has changed since, or what is left of a damaged journal.
    forget: whatever cannot be put back stays as it is, and the journal goes. Raises Trouble for a
    journal that is damaged or about another card, and OSError.
    """
    card = identity(device)
    path = card.path(folder)
    if not path.exists():
        return Restored()
    journal = log.Log.open(path)
    try:
        return _restore(journal, device, card, force, forget)
    finally:
        journal.close()


def _restore(file: log.Log, device: Device, card: Identity, force: bool, forget: bool) -> Restored:
    done = Restored()
    if not file.lines and not file.bad:  # killed before it could change anything
        file.remove()
        return done
    written = None if 1 in file.bad else of_header(file.lines[0])
    if forget and (file.bad or not written or not written.same_card(card)):
        file.remove()
        done.lines.append(f"{card.ifname}: the journal is dropped; nothing was put back")
        return done
    if not written:
        raise Trouble(f"{file.path} is damaged, or another version's; {_advice(card, 'forget')}")
    if not written.same_card(card):
        raise Trouble(
            f"{file.path} is about {_named(written)}, but {card.ifname} is {_named(card)}:"
            f" what was changed has gone with it; {_advice(card, 'forget')}"
        )
    if file.bad and not force:
        raise Trouble(
            f"{file.path} is damaged in line {file.bad[0]}; to put back what can be read:"
            f" {_advice(card, 'force')}"
        )
    if written.ifname != card.ifname:
        done.lines.append(f"{written.ifname} is called {card.ifname} now")
    journal = Journal(file, functools.partial(settings.setting, device))
    pending = journal.pending()
    done.stuck = journal.undo(force=force)
    # Of a setting that was changed more than once, what it was at first.
    first = {entry.key: entry for entry in pending if entry.undone}
    done.lines += [
        f"{card.ifname}: {entry.title}: {settings.words(entry.before)} again"
        for entry in first.values()
    ]
    done.lines += [f"{card.ifname}: {stuck}" for stuck in done.stuck]
    if done.stuck and forget:
        file.remove()
        done.lines.append(f"{card.ifname}: that stays as it is; the journal is dropped")
        done.stuck = []
    return done


def gone(folder: Path, ifname: str, *, forget: bool) -> str:
    """What to say of an interface that is not here, and has a journal: "" if it has none.

    Drops the journal if asked to; else, and if the interface has another name now, raises Trouble.
    """
    for path, card in _journals(folder):
        if not card or card.ifname != ifname or not _ours(card):
            continue
        with contextlib.suppress(OSError):
            now = socket.if_indextoname(card.ifindex)
            raise Trouble(f"{ifname} is called {now} now: ./run_tests.py nic {now} --restore")
        if not forget:
            raise Trouble(gone_with(card))
        with alone(card.ifindex, ifname):
            path.unlink(missing_ok=True)
        return f"{ifname} is gone; its journal is dropped"
    return ""


def gone_with(card: Identity) -> str:
    """What to say of a card that is gone, and has a journal."""
    return (
        f"{_named(card)} is gone, and what was changed with it, unless it comes back from"
        f" another namespace; {_advice(card, 'forget')}"
    )


def _advice(card: Identity, option: str) -> str:
    return f"./run_tests.py nic {card.ifname} --restore --{option}"


def _named(card: Identity) -> str:
    facts = " ".join(word for word in (card.driver, card.bus, card.mac) if word)
    return f"{card.ifname} ({facts})"


def _ours(card: Identity) -> bool:
    here = netns.machine(), netns.boot_id(), netns.here()
    return (card.machine, card.boot, card.netns) == here


def _journals(folder: Path) -> Iterator[tuple[Path, Identity | None]]:
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            header = log.header(path)
        except OSError:
            continue  # another run has just ended
        yield path, of_header(header) if header else None


def write_header(folder: Path, card: Identity) -> log.Log:
    """A new journal for a card that has none. Raises Trouble."""
    return log.Log.create(card.path(folder), card.header(os.getpid()))
