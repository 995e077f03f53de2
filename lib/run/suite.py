# SPDX-License-Identifier: GPL-2.0
"""What is sent to the guest, and how pytest is called on it, there or here."""

from __future__ import annotations

import io
import os
import random
import re
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from lib.run.bytecode import Bytecode
from lib.run.options import Options
from lib.trouble import Trouble

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("selftests", "fixtures", "netns", "lib", "conftest.py", "pyproject.toml")
DEFAULT = "selftests/zctap"
# What users have set for their own tests: it would leave out asserts, or tests.
NOT_INHERITED = dict.fromkeys(("PYTHONOPTIMIZE", "PYTEST_ADDOPTS", "PYTEST_PLUGINS"), "")
ONLY = "only"  # the modules and tests to run, an id a line
_TESTS = re.compile(r"test_.*\.py|.*_test\.py")  # as pytest has it
_SKIPPED = {"__pycache__", ".pytest_cache"}
_HOST_ONLY = ("lib/vm", "lib/run", "lib/setup", "lib/coverage", "lib/mutants", "lib/report/page")


def archive(extra: dict[str, Path], bytecode: Bytecode) -> bytes:
    """Return the suite as a tar archive; `extra` adds files, name in the archive -> path.

    It holds contents and modes, no times and no owners: the same files make the same archive.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, path in sorted({**_files(), **extra}.items()):
            for file in [path] if path.is_file() else sorted(path.rglob("*")):
                below = os.path.normpath(os.path.join(name, file.relative_to(path)))
                if file.is_file() and _wanted(below):
                    content = file.read_bytes()
                    _add(tar, below, content, file.stat().st_mode & 0o777)
                    for compiled, code in bytecode.known(below, content):
                        _add(tar, compiled, code, 0o644)
    return buffer.getvalue()


def staged(stages: list[list[str]]) -> list[str]:
    """Return the lines for lib/report/only.py: an empty one between stages."""
    return "\n\n".join("\n".join(stage) for stage in stages).split("\n")


def listing(only: list[str]) -> bytes:
    """Return a tar archive with the file ONLY, for pytest_arguments()."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        _add(tar, ONLY, "\n".join(only).encode(), 0o644)
    return buffer.getvalue()


def _files() -> dict[str, Path]:
    return {part: ROOT / part for part in PARTS if (ROOT / part).exists()}


def _wanted(name: str) -> bool:
    """Leave out what Python and pytest make, and the host's side of lib/."""
    path = Path(name)
    return not (_SKIPPED & set(path.parts) or any(path.is_relative_to(own) for own in _HOST_ONLY))


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mode = mode
    tar.addfile(member, io.BytesIO(content))


@dataclass
class Selection:
    """The tests to run, as they are called in a guest and on the host."""

    guest: list[str] = field(default_factory=list)
    host: list[str] = field(default_factory=list)
    # Files that are no part of the suite: name in the guest -> path.
    extra: dict[str, Path] = field(default_factory=dict)


def select(paths: list[str]) -> Selection:
    """Return the tests that `paths` name: files, directories or pytest's ids, as the user
    sees them from where they are; none of them: the suite. Raises Trouble.
    """
    selection = Selection()
    for given in paths or [str(ROOT / DEFAULT)]:
        file, colons, rest = given.partition("::")
        path = Path(file).resolve()
        if not path.exists():
            raise Trouble(f"no such test file: {given}")
        if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[:1] != ("tests",):
            name = here = os.fspath(path.relative_to(ROOT))
        else:
            name, here = f"outside/{path.name}", str(path)
            if selection.extra.setdefault(name, path) != path:
                raise Trouble(f"{selection.extra[name]} and {path}: of one name, take them apart")
        selection.guest.append(name + colons + rest)
        selection.host.append(here + colons + rest)
    return selection


def listed(options: Options, names: Iterable[str]) -> dict[str, list[str]]:
    """Return what to run of these modules: all, or what --only lists. Raises Trouble."""
    if not options.only:
        return {name: [name] for name in names}
    try:
        wanted = options.only.read_text().split("\n")
    except (OSError, ValueError) as err:
        raise Trouble(f"--only {options.only}: cannot be read") from err
    found = {name: [test for test in wanted if test.split("::", 1)[0] == name] for name in names}
    kept = {name: tests for name, tests in found.items() if tests}
    if not kept:
        raise Trouble(f"--only {options.only}: lists no test of what was asked for")
    return kept


def modules(selection: Selection) -> dict[str, Path]:
    """Return the modules of a selection: name in the guest -> source. Raises Trouble."""
    found: dict[str, Path] = {}
    for test in selection.guest:
        name = test.split("::", 1)[0]
        path = selection.extra.get(name, ROOT / name)
        files = [path]
        if path.is_dir():
            files = [file for file in sorted(path.rglob("*.py")) if _TESTS.fullmatch(file.name)]
        for file in files:
            found[os.path.normpath(os.path.join(name, file.relative_to(path)))] = file
    if not found:
        raise Trouble("no test matches what was asked for")
    return found


def seeded(options: Options) -> Options:
    """Return the options with a seed: the one that was given, or a new one."""
    seed = random.getrandbits(31) if options.seed is None else options.seed
    return replace(options, seed=seed)


def pytest_arguments(
    options: Options, tests: list[str], *, root: str = ".", only: str | None = None
) -> list[str]:
    """Return pytest's arguments; ids of tests are relative to `root`. `options` have a seed.

    `only` is a file that lists modules and tests, see lib/report/only.py.
    """
    words = ["-p", "lib.report.plugin", "-p", "lib.report.only", "-p", "no:cacheprovider"]
    if only:
        words += ["--only", only]
    # One number replays the order of the tests and whatever they draw.
    words += ["-p", "pytest_randomly", f"--randomly-seed={options.seed}"]
    # One module that cannot be imported fails; the others run.
    words += ["--continue-on-collection-errors", f"--rootdir={root}", "-c", "pyproject.toml"]
    words += ["-q", "--no-header", "--no-summary", "--tb=short"]
    if options.keyword is not None:
        words += ["-k", options.keyword]
    if options.markers is not None:
        words += ["-m", options.markers]
    return [*words, *tests]
