# SPDX-License-Identifier: GPL-2.0
"""A card played by a file is as it was, whenever the process that changes it was killed."""

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lib.nic import log, restore
from tests.nic.changes import begin, set_up
from tests.nic.fake import FakeDevice


def run(folder: Path, device: Any) -> None:
    card = begin(folder, device)
    set_up(card)
    assert not card.journal.undo()
    card.journal.close()


def put_back(folder: Path, device: Any) -> None:
    done = restore.restore(folder, device)
    assert not done.stuck, done.lines


def killed(action: Callable[[Path, Any], None], folder: Path, file: Path, at: int) -> bool:
    """Do it in a process that is killed at its step number `at`; whether it got there."""
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "see the output"
        return os.WIFSIGNALED(status)
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps == at:
            os.kill(os.getpid(), signal.SIGKILL)

    real = log.Log.append

    def append(self: log.Log, line: log.Line) -> None:
        step()
        real(self, line)
        step()

    status = 1
    try:
        log.Log.append = append  # type: ignore[method-assign]
        action(folder, FakeDevice(file, step))
        status = 0
    finally:
        os._exit(status)


def test_all_is_as_it_was(device: FakeDevice, folder: Path):
    before = device.state()
    card = begin(folder, device)
    set_up(card)
    now = device.state()
    assert now["channels"][3] == 3
    assert now["table"] == [0, 2] * 4
    assert now["rings"][0] == 1024
    assert (now["split"], now["ntuple"], len(now["rules"])) == (
        [2, 0],
        True,
        1 + len(before["rules"]),
    )
    assert not card.journal.undo()
    assert device.state() == before
    card.journal.close()
    assert not list(folder.iterdir())


def test_killed_at_any_step(device: FakeDevice, folder: Path):
    before = device.state()
    at = 1
    while killed(run, folder, device.file, at):
        put_back(folder, device)
        assert device.state() == before, f"killed at step {at}"
        assert not list(folder.iterdir())
        at += 1
    assert at > 40
    assert device.state() == before


def test_killed_again_while_it_is_put_back(device: FakeDevice, folder: Path):
    before = device.state()
    draw = random.Random(7)
    for _ in range(40):
        killed(run, folder, device.file, draw.randrange(1, 40))
        while killed(put_back, folder, device.file, draw.randrange(1, 12)):
            pass
        assert device.state() == before
        assert not list(folder.iterdir())
