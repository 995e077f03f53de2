# SPDX-License-Identifier: GPL-2.0
"""From counters to reports: gcov reads them, gcovr makes the pages."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lib.coverage import summary
from lib.coverage.counters import place
from lib.trouble import Trouble
from lib.vm.command import run


@dataclass(frozen=True)
class Coverage:
    """What was reached of a kernel."""

    files: summary.Files
    groups: list[summary.Group]


def read(guests: Sequence[dict[str, bytes]], notes: Path) -> Coverage:
    """Return the coverage of the files whose sources `notes` has (see lib/vm/notes.py).

    `guests` has the counters of each guest of the run; they are added. Raises Trouble if they
    are of another build, or if there are none.
    """
    about = json.loads((notes / "about.json").read_text())
    told = [output for counters in guests for output in _told(counters, notes)]
    if not told:
        raise Trouble("the guests have no counters of this kernel")
    files = summary.merge(told, about["tree"], _source(notes))
    return Coverage(files, summary.groups(files, about["added"]))


def _told(counters: dict[str, bytes], notes: Path) -> list[dict[str, Any]]:
    """Return what gcov says of one guest's counters. Raises Trouble."""
    with tempfile.TemporaryDirectory(prefix="zctap-coverage-") as name:
        objects = Path(name, "objects")
        shutil.copytree(notes / "objects", objects)
        place(counters, objects)
        told = []
        for path in sorted(objects.rglob("*.gcda")):
            words = ["gcov", "--branch-probabilities", "--json-format", "--stdout"]
            try:
                told.append(json.loads(run([*words, path])))
            except ValueError as err:
                raise Trouble(f"gcov does not read {path.name}: {err}") from err
    return told


def write(coverage: Coverage, notes: Path, where: Path) -> None:
    """Write summary.json, missing.txt and index.html with its pages. Raises Trouble."""
    # The version of what it writes and reads: it takes no other.
    from gcovr.data_model.version import FORMAT_VERSION

    source = notes / "source"
    try:
        shutil.rmtree(where / "html", ignore_errors=True)
        (where / "html").mkdir(parents=True)
        figures = json.dumps(summary.to_json(coverage.groups), indent=2)
        (where / "summary.json").write_text(figures + "\n")
        lines = summary.missing(coverage.groups, _source(notes))
        (where / "missing.txt").write_text("".join(f"{line}\n" for line in lines))
        trace = where / "gcovr.json"
        trace.write_text(json.dumps(summary.tracefile(coverage.files, FORMAT_VERSION)))
    except OSError as err:
        raise Trouble(f"cannot write to {where}: {err.strerror}") from err
    command = [sys.executable, "-m", "gcovr", "--root", str(source), "--add-tracefile", str(trace)]
    run([*command, "--html-title", "zctap", "--html-details", str(where / "html" / "index.html")])


def _source(notes: Path) -> summary.TextOf:
    """Return what gives the text of the sources that were kept."""

    @cache
    def text_of(name: str) -> list[str] | None:
        path = notes / "source" / name
        return path.read_text(errors="replace").splitlines() if path.is_file() else None

    return text_of
