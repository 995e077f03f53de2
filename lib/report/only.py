# SPDX-License-Identifier: GPL-2.0
"""A pytest plugin for `--only FILE`: of what is collected, run the modules and tests it lists.

Arguments would do the same, but pytest walks a directory anew for each of them: a guest's half of
the suite took twice as long to collect, and the rest of it after a crash far longer.
Used with `-p lib.report.only`; needs nothing of the host's side.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_wanted = pytest.StashKey[frozenset[str]]()
_modules = pytest.StashKey[frozenset[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption("--only", metavar="FILE", help="run only what FILE lists, an id a line")


def pytest_configure(config: pytest.Config) -> None:
    """Read the list."""
    name = config.getoption("only")
    if name:
        wanted = frozenset(Path(name).read_text().splitlines())
        config.stash[_wanted] = wanted
        config.stash[_modules] = frozenset(test.split("::", 1)[0] for test in wanted)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import modules of which nothing is wanted."""
    modules = config.stash.get(_modules, None)
    if modules is None or collection_path.is_dir():
        return None
    name = os.path.relpath(collection_path, config.rootpath)
    return None if name in modules else True


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what is not wanted, of modules that were given by name for one."""
    wanted = config.stash.get(_wanted, None)
    if wanted is None:
        return
    kept: list[pytest.Item] = []
    others: list[pytest.Item] = []
    for item in items:
        chosen = item.nodeid in wanted or item.nodeid.split("::", 1)[0] in wanted
        (kept if chosen else others).append(item)
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = kept
