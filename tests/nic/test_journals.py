# SPDX-License-Identifier: GPL-2.0
"""Journals that are not whole, not ours, or about a card that is not there."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest

from lib.nic import log, netns, restore
from lib.nic.identity import identity
from lib.trouble import Trouble
from tests.nic.changes import begin, left_behind, set_up
from tests.nic.fake import FRESH, FakeDevice


def test_cut_off_anywhere_it_does_no_harm(device: FakeDevice, folder: Path):
    before = device.state()
    path = left_behind(folder, device)
    whole, after = path.read_bytes(), device.state()
    for length in range(0, len(whole), 7):
        device.save(after)
        path.write_bytes(whole[:length])
        restore.restore(folder, device, force=True)
        for name, value in device.state().items():
            # In between the table was reset.
            allowed = [before[name], after[name], *([None] if name == "table" else [])]
            assert value in allowed, f"{name}, cut off at {length}"
        path.unlink(missing_ok=True)


def test_a_damaged_journal_is_not_guessed_at(fresh: FakeDevice, folder: Path):
    path = left_behind(folder, fresh)
    after = fresh.state()
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b"combined", b"cOmbined")
    path.write_bytes(b"".join(lines))
    with pytest.raises(Trouble, match=r"damaged in line 2; .* --restore --force"):
        restore.restore(folder, fresh)
    assert fresh.state() == after
    restore.restore(folder, fresh, force=True)
    assert fresh.state() == FRESH | {"channels": after["channels"]}
    assert not path.exists()


@pytest.mark.parametrize("damage", [b"\0" * 64 + b"\n", b"{}\n", b"\xff\n", b"00000000 []\n"])
def test_a_journal_without_a_head(fresh: FakeDevice, folder: Path, damage: bytes):
    path = left_behind(folder, fresh)
    path.write_bytes(damage + path.read_bytes())
    with pytest.raises(Trouble, match="--restore --forget"):
        restore.restore(folder, fresh, force=True)
    restore.restore(folder, fresh, forget=True)
    assert not path.exists()


def rewritten(path: Path, **changes: Any) -> None:
    """Another head."""
    file = log.Log.open(path)
    lines = [file.lines[0] | changes, *file.lines[1:]]
    file.remove()
    new = log.Log.create(path, lines[0])
    for line in lines[1:]:
        new.append(line)
    new.close()


def test_after_a_reboot_it_says_so_and_goes(fresh: FakeDevice, folder: Path):
    path = left_behind(folder, fresh)
    assert restore.sweep(folder) == []
    rewritten(path, boot="00000000-0000-0000-0000-000000000000")
    (line,) = restore.sweep(folder)
    assert "fake0: the machine was started again" in line
    assert not path.exists()


def test_another_machine_s_journal_is_none_of_ours(fresh: FakeDevice, folder: Path):
    path = left_behind(folder, fresh)
    rewritten(path, boot="00000000-0000-0000-0000-000000000000", machine="elsewhere")
    assert restore.sweep(folder) == []
    assert path.exists()


def test_a_newer_version_s_journal(fresh: FakeDevice, folder: Path):
    rewritten(left_behind(folder, fresh), version=99)
    with pytest.raises(Trouble, match="another version's"):
        restore.restore(folder, fresh)


def test_another_card_with_the_same_number(fresh: FakeDevice, folder: Path):
    path = left_behind(folder, fresh)
    after = fresh.state()
    rewritten(path, mac="02:00:00:00:00:99")
    with pytest.raises(Trouble, match=r"about fake0 \(fake 0000:00:07.0 02:00:00:00:00:99\)"):
        restore.restore(folder, fresh, force=True)
    assert fresh.state() == after
    assert "nothing was put back" in restore.restore(folder, fresh, forget=True).lines[0]


def test_renamed(fresh: FakeDevice, folder: Path):
    rewritten(left_behind(folder, fresh), ifname="eth7")
    assert restore.restore(folder, fresh).lines[0] == "eth7 is called fake0 now"
    assert fresh.state() == FRESH


def test_gone_in_the_middle(fresh: FakeDevice, folder: Path):
    card = begin(folder, fresh)
    set_up(card)
    fresh.gone = True
    stuck = card.journal.undo()
    assert len(stuck) == 6
    assert "No such device" in str(stuck[0])
    card.journal.close()
    assert list(folder.iterdir())


def test_an_interface_that_is_gone(fresh: FakeDevice, folder: Path):
    path = left_behind(folder, fresh)
    assert not restore.gone(folder, "eth9", forget=False)
    rewritten(path, netns=netns.here(), ifindex=2**31 - 1)
    with pytest.raises(Trouble, match=r"fake0 .* is gone, .* --forget"):
        restore.gone(folder, "fake0", forget=False)
    assert restore.gone(folder, "fake0", forget=True) == "fake0 is gone; its journal is dropped"
    assert not path.exists()


def test_lines_that_make_no_sense(fresh: FakeDevice, folder: Path):
    path = left_behind(folder, fresh)
    file = log.Log.open(path)
    file.append({"ev": "did", "n": 77, "after": 1})
    file.close()
    with pytest.raises(Trouble, match="not understood"):
        restore.restore(folder, fresh, force=True)


def test_the_header_is_what_the_page_says(fresh: FakeDevice, folder: Path):
    path = left_behind(folder, fresh)
    header = log.header(path)
    assert header and header["pid"] == os.getpid()
    known = {field.name for field in dataclasses.fields(identity(fresh))}
    assert set(header) == known | {"ev", "version", "pid"}
    assert json.loads(path.read_bytes().splitlines()[1][9:])["ev"] == "will"
