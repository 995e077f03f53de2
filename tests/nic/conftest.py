# SPDX-License-Identifier: GPL-2.0
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from netns import Link, LinkSpec
from tests.nic.changes import QUEUES, STARTS
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


@pytest.fixture
def veth(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Link]:
    """A pair with four queues; the test is in the receiver's namespace, and has a cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    for name in ("SSH_CONNECTION", "NETIF"):
        monkeypatch.delenv(name, raising=False)
    try:
        link = Link(LinkSpec(queues=QUEUES))
    except PermissionError as error:
        pytest.skip(f"network namespaces need root: {error}")
    with link, link.rx.ns.entered():
        yield link


@pytest.fixture
def journals(place: Path) -> Path:
    """Where they are by default."""
    return place / "zctap-selftests" / "nic"
