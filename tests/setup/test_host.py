# SPDX-License-Identifier: GPL-2.0
import os

import pytest

from lib.setup import host, venv
from lib.trouble import Trouble


def test_missing_asks_every_package():
    wanted = {"here": lambda: True, "gone": lambda: False, "lost": lambda: False}
    assert host.missing(wanted) == ["gone", "lost"]


def test_installing_needs_root_and_says_how(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Trouble, match="as root: apt-get install flex bison"):
        host.install(["flex", "bison"])


def test_every_python_package_is_pinned():
    assert venv.packages()
    assert all("==" in line for line in venv.packages())
