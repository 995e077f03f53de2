# SPDX-License-Identifier: GPL-2.0
"""The catalogue of mutants: kernel/mutants/*.toml, tables `[[mutant]]` (see docs/mutants.md)."""

from __future__ import annotations

import re
import tomllib
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lib.trouble import Trouble

CATALOGUE = Path(__file__).resolve().parents[2] / "kernel" / "mutants"
# In `new`: the condition that the mutant is chosen, and the text that it replaces.
CONDITION = "@MUTANT@"
OLD = "@OLD@"
KERNELS = ("mutants", "debug")

_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_NEEDED = ("id", "contract", "what", "file", "old", "new")
_KNOWN = {*_NEEDED, "function", "profile", "also"}
_ALSO = {"file", "function", "old", "new"}


@dataclass(frozen=True)
class Change:
    """A place in the source: `old` is what is there, in `function` if that is not empty.

    It is there once, or what is meant begins `at` so many bytes.
    """

    file: str
    old: str
    new: str
    function: str = ""
    at: int = -1

    @property
    def kind(self) -> str:
        """What `new` is: the whole "text", or a "statement" or "expression" instead of `old`."""
        if CONDITION in self.new:
            return "text"
        return "statement" if self.old.rstrip().endswith((";", "}")) else "expression"


@dataclass(frozen=True)
class Mutant:
    """A mistake in the kernel, and the promises of docs/contract.md that it breaks."""

    id: str
    contract: tuple[str, ...]
    what: str  # goes wrong for a user
    changes: tuple[Change, ...]
    profile: str = KERNELS[0]  # of the kernel that can show it
    # Not that it breaks these promises, but others at that place do.
    near: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        """What chooses it in the kernel; it stays the same whatever becomes of the others."""
        return zlib.crc32(self.id.encode()) or 1

    @property
    def content(self) -> str:
        """What it is made of: the same as long as it does the same."""
        return repr((self.number, self.profile, [asdict(change) for change in self.changes]))


def load(folder: Path = CATALOGUE) -> list[Mutant]:
    """Return all mutants, those of a file in its order. Raises Trouble."""
    found: list[Mutant] = []
    for path in sorted(folder.glob("*.toml")):
        try:
            tables = tomllib.loads(path.read_text())
        except (OSError, ValueError) as err:
            raise Trouble(f"{path.name}: {err}") from err
        if list(tables) != ["mutant"] or not isinstance(tables["mutant"], list):
            raise Trouble(f"{path.name}: wants tables [[mutant]] and nothing else")
        found += [_mutant(path.name, table) for table in tables["mutant"]]
    _check_distinct(found)
    return found


def _mutant(where: str, table: Any) -> Mutant:
    """Return the mutant of a table. Raises Trouble."""
    name = table.get("id") if isinstance(table, dict) else None
    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise Trouble(f"{where}: a mutant has no id, or one that is not kebab-case: {name!r}")
    if problem := _problem(table):
        raise Trouble(f"{where}: {name}: {problem}")
    changes = [_change(table, table)]
    changes += [_change(table, more) for more in table.get("also", [])]
    for change in changes:
        if change.kind == "expression" and not change.new.strip():
            raise Trouble(f"{where}: {name}: an expression needs another in its place")
    return Mutant(
        id=name,
        contract=tuple(table["contract"]),
        what=table["what"],
        changes=tuple(changes),
        profile=table.get("profile", KERNELS[0]),
    )


def _problem(table: dict[str, Any]) -> str:
    """Say what is wrong with the fields of a table; "" if nothing is."""
    if missing := [field for field in _NEEDED if field not in table]:
        return f"no {', no '.join(missing)}"
    if unknown := sorted(table.keys() - _KNOWN):
        return f"unknown: {', '.join(unknown)}"
    contract = table["contract"]
    if not (isinstance(contract, list) and contract and all(type(one) is str for one in contract)):
        return "contract has to be a list of ids"
    if table.get("profile", KERNELS[0]) not in KERNELS:
        return f"profile is one of {', '.join(KERNELS)}"
    for place in [table, *table.get("also", [])]:
        if not (isinstance(place, dict) and {"old", "new"} <= place.keys()):
            return "also: wants old and new"
        if unknown := sorted(place.keys() - _KNOWN - _ALSO):
            return f"also: unknown: {', '.join(unknown)}"
        texts = {field: place[field] for field in (*_ALSO, "what") if field in place}
        if wrong := [field for field, value in texts.items() if not isinstance(value, str)]:
            return f"{', '.join(sorted(wrong))}: not a string"
        if not place["old"].strip():
            return "old is empty"
    return ""


def _change(table: dict[str, Any], place: dict[str, Any]) -> Change:
    """Return a place; what it does not say of the file is as in the mutant's table."""
    same = "file" not in place or place["file"] == table["file"]
    function = place.get("function", table.get("function", "") if same else "")
    return Change(place.get("file", table["file"]), place["old"], place["new"], function)


def _check_distinct(mutants: Iterable[Mutant]) -> None:
    """Raise Trouble for two mutants with one id, or one number."""
    seen: dict[int, str] = {}
    for mutant in mutants:
        if mutant.number in seen:
            raise Trouble(f"two mutants are one: {seen[mutant.number]}, {mutant.id}")
        seen[mutant.number] = mutant.id


def select(mutants: list[Mutant], ids: Iterable[str]) -> list[Mutant]:
    """Return the mutants with these ids, all of them if there is none. Raises Trouble."""
    by_id = {mutant.id: mutant for mutant in mutants}
    wanted = list(dict.fromkeys(ids))
    if unknown := [name for name in wanted if name not in by_id]:
        raise Trouble(f"no such mutant: {', '.join(unknown)} (see kernel/mutants/)")
    return [by_id[name] for name in wanted] or mutants
