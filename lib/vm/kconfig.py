# SPDX-License-Identifier: GPL-2.0
"""Kconfig fragments: merge them, and check that the result has what they ask for.

Kconfig drops an option whose dependency is missing without a word; a kernel without it
then fails far from the cause.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lib.trouble import Trouble

FRAGMENTS = Path(__file__).resolve().parents[2] / "kernel" / "configs"
PROFILES = ("plain", "cover", "debug", "mutants")

_SET = re.compile(r"^(CONFIG_\w+)=(.*)$")
_UNSET = re.compile(r"^# (CONFIG_\w+) is not set$")
_SYMBOL = re.compile(r"^(?:menu)?config (\w+)\s*$")
_WANTED_SYMBOL = re.compile(r"(?<![!\w])[A-Z][A-Z0-9_]+\b")
_DEPENDS = re.compile(r"^\s+depends on (.*?)\s*$")


def parse(text: str) -> dict[str, str]:
    """Return option -> value; an option that is said to be not set has "n"."""
    options: dict[str, str] = {}
    for line in text.splitlines():
        if found := _SET.match(line):
            options[found[1]] = found[2]
        elif found := _UNSET.match(line):
            options[found[1]] = "n"
    return options


def fragment(profile: str) -> str:
    """Return the text of all fragments of a profile; later lines win."""
    if profile not in PROFILES:
        raise Trouble(f"no profile {profile!r}: there are {', '.join(PROFILES)}")
    # cover is plain with counters in it, mutants plain with mistakes.
    names = ["base", *(["plain"] if profile in ("cover", "mutants") else []), profile, "zctap"]
    return "".join((FRAGMENTS / f"{name}.config").read_text() for name in names)


@dataclass(frozen=True)
class Lost:
    """Options of a fragment that a finished configuration does not have."""

    dropped: dict[str, str]  # option -> why, as far as is known
    unknown: list[str]  # options that this tree does not define


def check(wanted: str, config: str, tree: Path) -> Lost:
    """Compare a fragment with the .config that came out of it, in `tree`."""
    have = parse(config)
    missing = {
        option: value for option, value in parse(wanted).items() if have.get(option, "n") != value
    }
    if not missing:
        return Lost({}, [])
    depends = _dependencies(tree, {option.removeprefix("CONFIG_") for option in missing})
    dropped = {}
    unknown = []
    for option, value in missing.items():
        conditions = depends.get(option.removeprefix("CONFIG_"))
        if conditions is None:
            unknown.append(option)
        else:
            dropped[option] = _why(option, value, have, conditions)
    return Lost(dropped, sorted(unknown))


def _why(option: str, value: str, have: dict[str, str], conditions: list[str]) -> str:
    """Say what is known about an option that came out otherwise than asked for."""
    # Not those behind a "!", which have to be unset.
    names = {name for line in conditions for name in _WANTED_SYMBOL.findall(line)}
    unset = sorted(name for name in names if have.get(f"CONFIG_{name}", "n") == "n")
    text = f"wanted {value}, came out {have.get(option, 'n')}"
    if unset:
        text += f" (it depends on {' && '.join(conditions)}; not set: {', '.join(unset)})"
    return text


def _dependencies(tree: Path, symbols: Iterable[str]) -> dict[str, list[str]]:
    """Return symbol -> its `depends on` lines, for those that some Kconfig file defines."""
    wanted = set(symbols)
    found: dict[str, list[str]] = {}
    for path in tree.rglob("Kconfig*"):
        # Other architectures define the same names with other dependencies.
        where = path.relative_to(tree).parts
        foreign = where[0] == "arch" and len(where) > 2 and where[1] != "x86"
        if foreign or not path.is_file():
            continue
        current: str | None = None
        for line in path.read_text(errors="replace").splitlines():
            if symbol := _SYMBOL.match(line):
                current = symbol[1] if symbol[1] in wanted else None
                if current:
                    found.setdefault(current, [])
            elif current and (condition := _DEPENDS.match(line)):
                found[current].append(condition[1])
    return found
