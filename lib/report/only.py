# SPDX-License-Identifier: GPL-2.0
"""A pytest plugin for `--only FILE`: of what is collected, run the modules and tests it lists.

Arguments would do the same, but pytest walks a directory anew for each of them: a guest's half of
the suite took twice as long to collect, and the rest of it after a crash far longer.

Where all are tests they run in the order of the list: of a mutant those come first that are
likely to fail. Else it is pytest's.
An empty line in the file ends a stage: what is below it is collected when all that is above has
been run. Under TCG half the suite takes seconds to collect, and one module hardly anything: so
the first result comes that much earlier.
Used with `-p lib.report.only`; needs nothing of the host's side.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Generator
from pathlib import Path

import pytest

from lib.report.model import module_of

_stages = pytest.StashKey[list[dict[str, int]]]()  # name -> its place in the list


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption("--only", metavar="FILE", help="run only what FILE lists, an id a line")


def pytest_configure(config: pytest.Config) -> None:
    """Read the list: the stages of it, the one to collect next at their head."""
    name = config.getoption("only")
    if name:
        text = Path(name).read_text().strip("\n")
        stages = [
            {name: place for place, name in enumerate(part.splitlines())}
            for part in text.split("\n\n")
        ]
        config.stash[_stages] = stages


def _wanted(config: pytest.Config) -> dict[str, int] | None:
    """Return the modules and tests of this stage; None: all there are."""
    stages = config.stash.get(_stages, None)
    return stages[0] if stages else None


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import modules of which nothing is wanted."""
    wanted = _wanted(config)
    if wanted is None or collection_path.is_dir():
        return None
    name = os.path.relpath(collection_path, config.rootpath)
    return None if name in map(module_of, wanted) else True


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what is not wanted, of modules that were given by name for one."""
    wanted = _wanted(config)
    if wanted is None:
        return
    kept: list[pytest.Item] = []
    others: list[pytest.Item] = []
    for item in items:
        chosen = item.nodeid in wanted or module_of(item.nodeid) in wanted
        (kept if chosen else others).append(item)
    if others:
        config.hook.pytest_deselected(items=others)
    if all("::" in name for name in wanted):
        kept.sort(key=lambda item: wanted[item.nodeid])
    items[:] = kept


def stage(config: pytest.Config, tests: list[str]) -> dict[str, list[str]]:
    """Return what the `tests` just collected do not tell: modules without any, what is left."""
    stages = config.stash.get(_stages, [dict[str, int]()])
    found = {module_of(test) for test in tests}
    empty = [name for name in stages[0] if "::" not in name and name not in found]
    return {"left": sorted(frozenset[str]().union(*stages[1:])), "empty": sorted(empty)}


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run one stage after the other, where there are several."""
    if len(session.config.stash.get(_stages, [])) < 2 or session.config.option.collectonly:
        return None
    collected = 0
    for item, following in _pairs(session):
        session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        collected += 1
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
    # The last stage may have had none; pytest asks for this at its end.
    session.testscollected = collected
    return True


def _pairs(session: pytest.Session) -> Generator[tuple[pytest.Item, pytest.Item | None]]:
    """Give each test with the one that follows it, so that what both need is not torn down.

    The next stage is collected before the last test of one is run.
    """
    stages = session.config.stash[_stages]
    items = list(session.items)
    while True:
        yield from itertools.pairwise(items)
        last = items[-1:]
        items = []
        while len(stages) > 1 and not items:
            del stages[0]
            session.perform_collect()
            items = list(session.items)
        if last:
            yield last[0], items[0] if items else None
        if not items:
            return
