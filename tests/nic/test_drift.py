# SPDX-License-Identifier: GPL-2.0
"""What others have changed meanwhile, what was refused, and what was there before."""

import errno
import os
from pathlib import Path

import pytest

from lib.nic import restore
from lib.nic.card import Unsupported
from lib.trouble import Trouble
from tests.nic.changes import OURS, THEIRS, begin, left_behind
from tests.nic.fake import FRESH, FakeDevice


def test_drift_is_reported_and_kept(fresh: FakeDevice, folder: Path):
    path = left_behind(folder, fresh)
    fresh.change(split=[2, 100], rings=[2048, 0, 0, 512])
    done = restore.restore(folder, fresh)
    assert [stuck.entry.kind for stuck in done.stuck] == ["header split", "ring sizes"]
    assert "is rx 2048, tx 512, which is neither what it was (rx 256, tx 512)" in str(done.stuck[1])
    assert fresh.state() == FRESH | {"split": [2, 100], "rings": [2048, 0, 0, 512]}
    assert path.exists()
    assert len(restore.restore(folder, fresh).stuck) == 2  # and again, until somebody decides


def test_drift_is_overwritten_if_that_is_wanted(fresh: FakeDevice, folder: Path):
    path = left_behind(folder, fresh)
    fresh.change(split=[2, 100])
    assert restore.restore(folder, fresh).stuck
    assert not restore.restore(folder, fresh, force=True).stuck
    assert fresh.state() == FRESH
    assert not path.exists()


def test_drift_is_left_if_that_is_wanted(fresh: FakeDevice, folder: Path):
    path = left_behind(folder, fresh)
    fresh.change(split=[2, 100])
    assert not restore.restore(folder, fresh, forget=True).stuck
    assert fresh.state() == FRESH | {"split": [2, 100]}
    assert not path.exists()


def test_drift_of_a_setting_changed_twice_is_one_line(fresh: FakeDevice, folder: Path):
    card = begin(folder, fresh)
    card.set_channels(3)
    card.set_channels(2)
    fresh.change(channels=[0, 0, 1, 7])
    assert len(card.journal.undo()) == 1
    assert not card.journal.undo(force=True)
    assert fresh.state() == FRESH


def test_somebody_else_s_rules_survive(fresh: FakeDevice, folder: Path):
    left_behind(folder, fresh)
    rules = {"3": bytes(THEIRS.spec(3)).hex()}
    fresh.change(rules=fresh.state()["rules"] | rules)
    done = restore.restore(folder, fresh)
    assert "somebody else's flow rules would go with it" in str(done.stuck[0])
    assert fresh.state() == FRESH | {"ntuple": True, "rules": rules}


def test_a_table_that_the_driver_has_reset_is_nobody_s_choice(fresh: FakeDevice, folder: Path):
    fresh.change(table=[3] * 8)
    before = fresh.state()
    card = begin(folder, fresh)
    card.spread_away_from(1)
    fresh.change(table=None)
    assert not card.journal.undo()
    assert fresh.state() == before
    card = begin(folder, fresh)
    card.spread_away_from(1)
    fresh.change(table=[0, 0, 2, 0, 0, 0, 0, 0])
    assert [stuck.entry.kind for stuck in card.journal.undo()] == ["RSS table"]


def test_a_rule_in_the_place_of_ours_is_not_ours(device: FakeDevice, folder: Path):
    left_behind(folder, device)
    rules = {at: bytes(THEIRS.spec(int(at))).hex() for at in device.state()["rules"]}
    device.change(rules=rules)
    restore.restore(folder, device, force=True)
    assert device.state()["rules"] in (rules, {})  # {}: n-tuple filters were off before


def test_a_driver_that_chooses_the_place_of_rules(fresh: FakeDevice, folder: Path):
    fresh.insists = True
    fresh.change(ntuple=True, rules={"0": bytes(THEIRS.spec(0)).hex()})
    before = fresh.state()
    card = begin(folder, fresh)
    card.steer(OURS)
    assert sorted(fresh.state()["rules"]) == ["0", "1"]
    assert not card.journal.undo()
    assert fresh.state() == before


def test_a_rule_that_was_there_stays(fresh: FakeDevice, folder: Path):
    fresh.change(ntuple=True, rules={"5": bytes(OURS.spec(5)).hex()})
    card = begin(folder, fresh)
    card.steer(OURS)
    assert not card.journal.undo()
    assert list(fresh.state()["rules"]) == ["5"]


def test_what_is_refused_is_no_change(fresh: FakeDevice, folder: Path):
    card = begin(folder, fresh)
    with pytest.raises(Unsupported, match="99 queues: the card has 8"):
        card.set_channels(99)
    fresh.change(table=[3] * 8)
    with pytest.raises(OSError, match="table names a queue"):
        card.journal.change("queues", {}, {"rx": 0, "tx": 0, "other": 1, "combined": 2})
    assert not card.journal.pending()
    card.journal.close()
    assert not list(folder.iterdir())


def test_without_room_for_the_journal_nothing_is_changed(
    fresh: FakeDevice, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    card = begin(folder, fresh)
    card.set_channels(3)
    size = card.journal.log.path.stat().st_size
    real = os.pwrite

    def full(fd: int, data: bytes, at: int) -> int:
        if len(data) < 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data[: len(data) // 2], at)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(Trouble, match="No space left on device"):
        card.set_channels(2)
    assert fresh.state()["channels"][3] == 3
    assert card.journal.log.path.stat().st_size == size
    assert not card.journal.undo()  # which takes no room
    assert fresh.state() == FRESH
    assert not list(folder.iterdir())
