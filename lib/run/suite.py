# SPDX-License-Identifier: GPL-2.0
"""What is sent to the guest, and how pytest is called on it, there or here."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

from lib.run.options import Options
from lib.trouble import Trouble

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("selftests", "fixtures", "netns", "lib", "conftest.py", "pyproject.toml")
DEFAULT = "selftests/zctap"
_SKIPPED = {"__pycache__", ".pytest_cache"}


def archive(extra: dict[str, Path]) -> bytes:
    """Return the suite as a tar archive; `extra` adds files, name in the archive -> path."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for part in PARTS:
            if (ROOT / part).exists():
                tar.add(ROOT / part, arcname=part, filter=_wanted)
        for name, path in extra.items():
            tar.add(path, arcname=name, filter=_wanted)
    return buffer.getvalue()


def _wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out what Python and pytest make; owners are the guest's root."""
    if _SKIPPED & set(Path(member.name).parts) or member.name.endswith(".pyc"):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def test_ids(paths: list[str]) -> tuple[list[str], dict[str, Path]]:
    """Return tests as the suite's own paths, and files outside of it that have to be sent.

    The user gives paths relative to where they are. Raises Trouble.
    """
    names = []
    extra: dict[str, Path] = {}
    for given in paths or [str(ROOT / DEFAULT)]:
        file, _, rest = given.partition("::")
        path = Path(file).resolve()
        if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[:1] != ("tests",):
            name = os.fspath(path.relative_to(ROOT))
        elif path.is_file() or path.is_dir():
            name = f"outside/{path.name}"
            extra[name] = path
        else:
            raise Trouble(f"no such test file: {given}")
        names.append(f"{name}::{rest}" if rest else name)
    return names, extra


def pytest_arguments(options: Options, tests: list[str]) -> list[str]:
    """Return pytest's arguments, which are the same in a guest and on the host."""
    words = ["-p", "lib.report.plugin", "-p", "no:cacheprovider"]
    # One module that cannot be imported fails; the others run.
    words += ["--continue-on-collection-errors", "--rootdir=.", "-c", "pyproject.toml"]
    words += ["-q", "--no-header", "--no-summary", "--tb=short"]
    if options.keyword is not None:
        words += ["-k", options.keyword]
    if options.seed is not None:
        words += ["--seed", str(options.seed)]
    return [*words, *tests]
