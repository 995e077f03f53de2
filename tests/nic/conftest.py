# SPDX-License-Identifier: GPL-2.0
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nic.changes import STARTS
from tests.nic.fake import FakeDevice


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory in memory, where fsync takes no time: what is killed here is no machine."""
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shm if os.access(shm, os.W_OK) else None) as path:
        yield Path(path)


@pytest.fixture(params=STARTS)
def device(place: Path, request: pytest.FixtureRequest) -> FakeDevice:
    """A card."""
    made = FakeDevice(place / "nic")
    made.save(dict(STARTS[request.param]))
    return made


@pytest.fixture
def fresh(place: Path) -> FakeDevice:
    """A card as it came."""
    return FakeDevice(place / "nic")


@pytest.fixture
def folder(place: Path) -> Path:
    """Where journals are."""
    (place / "journals").mkdir()
    return place / "journals"
