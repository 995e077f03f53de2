# SPDX-License-Identifier: GPL-2.0
"""The last verdicts: kept after each run, and shown as a report on the contract."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from lib.report import contract, verdicts
from lib.report.model import Run
from lib.run import suite
from lib.run.options import Options
from lib.say import say
from lib.trouble import Trouble
from lib.vm import cache, debian, kbuild, source

DOCUMENT = suite.ROOT / "docs" / "contract.md"
_KEEP = 40


def _sources() -> dict[str, str]:
    """Return module -> hash of what it is now."""
    modules = (suite.ROOT / "selftests").rglob("test_*.py")
    return {
        str(path.relative_to(suite.ROOT)): verdicts.source_hash(path.read_bytes())
        for path in modules
    }


def keeper(kernel: str, profile: str) -> Callable[[Run], None]:
    """Return what keeps the verdicts of a run that is about to begin; `kernel` is its key."""
    sources = _sources()

    def keep(run: Run) -> None:
        path = _file(kernel, profile)
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        with cache.lock("verdicts"):
            old = verdicts.load(path)
            results = run.results.values()
            new = verdicts.merged(old, results, sources, when=when, kernel=run.kernel)
            verdicts.store(path, new)
        cache.prune("verdicts", _KEEP)

    return keep


def durations(kernel: str, profile: str) -> dict[str, float]:
    """Return test -> the seconds it took when it last ran: on this kernel, else on any like it."""
    path = _file(kernel, profile)
    if not path.exists():
        others = path.parent.glob(f"*-{profile}.json")
        path = max(others, key=lambda other: other.stat().st_mtime, default=path)
    return {name: verdict.duration for name, verdict in verdicts.load(path).items()}


def host_key() -> str:
    """Return what stands for the running kernel."""
    return "host-" + cache.key_of(" ".join(os.uname()))


def _file(kernel: str, profile: str) -> Path:
    return cache.folder("verdicts") / f"{kernel}-{profile}.json"


def report(options: Options) -> int:
    """Print the report on the contract; return the exit status. Raises Trouble."""
    entries = contract.clauses(DOCUMENT.read_text())
    names = named(options)
    if options.paths or options.keyword is not None or options.markers is not None:
        # Of a selection: what it names. All else would be untested only for being left out.
        wanted = {name for ids in names.values() for name in ids}
        entries = [entry for entry in entries if entry.id in wanted]
        say("contract: only what the selected tests name")
    key = _key(options)
    profile = "host" if options.host else options.profile
    last = verdicts.load(_file(key, profile)) if key else {}
    kernels = sorted({verdict.kernel for verdict in last.values()})
    found = contract.report(
        entries, names, last, _sources(), profile=profile, kernel=", ".join(kernels)
    )
    try:
        if options.json:
            options.json.write_text(json.dumps(contract.to_json(found), indent=1) + "\n")
        if options.markdown:
            options.markdown.write_text(contract.to_markdown(found))
    except OSError as err:
        raise Trouble(f"cannot write {err.filename}: {err.strerror}") from err
    if not options.markdown:
        print(contract.to_markdown(found), end="")
    for state in found.count():
        bad = [row.clause.id for row in found.rows if row.state == state and not row.good]
        if bad:
            say(f"contract: {state}: {' '.join(bad)}")
    if not last:
        say("contract: no verdict of this kernel is known: run the suite first")
    return 0 if found.good else 1


def _key(options: Options) -> str | None:
    """Return the key of the kernel that the options name, if it has been built."""
    if options.host:
        return host_key()
    if options.debian:
        return kbuild.from_image(debian.kernel(options.debian).image, options.profile).key
    if options.kernel:
        return kbuild.from_image(options.kernel, options.profile).key
    if options.tree:
        tree = source.of_tree(options.tree, with_series=options.apply_series)
        return kbuild.built_key(tree, options.profile)
    # Not fetched for this: without it there are no verdicts either.
    return kbuild.built_key(source.debian(), options.profile) if source.at_hand() else None


def named(options: Options) -> dict[str, list[str]]:
    """Return test -> the ids it names, as pytest collects them. Raises Trouble."""
    selection = suite.select(options.paths)
    root = "/" if selection.extra else "."
    arguments = suite.pytest_arguments(suite.seeded(options), selection.host, root=root)
    events, events_write = os.pipe()
    with os.fdopen(events, "rb") as reader:
        process = subprocess.Popen(
            [sys.executable, "-B", "-m", "pytest", "--collect-only", *arguments],
            cwd=suite.ROOT,
            env={
                **os.environ,
                **suite.NOT_INHERITED,
                "PYTHONPATH": str(suite.ROOT),
                "ZCTAP_EVENTS_FD": str(events_write),
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(events_write,),
        )
        os.close(events_write)
        run = Run()
        for line in reader:
            run.feed(line)
        process.wait()
    broken = [name for name in run.tests if name.endswith("::collection")]
    if broken:
        raise Trouble(f"cannot be imported: {', '.join(broken)} (run it to see why)")
    if not run.tests:
        raise Trouble("no test matches what was asked for")
    return {test: run.contract.get(test, []) for test in run.tests}
