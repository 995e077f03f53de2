# SPDX-License-Identifier: GPL-2.0
"""Sources with all mutants in them: which one is alive is chosen when the kernel runs.

Where a mutant has other text than the kernel, both are compiled, and a condition says which
runs. Mutants of one place, and of places inside one another, are put around each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lib.mutants.catalogue import CATALOGUE, CONDITION, OLD, Change, Mutant
from lib.trouble import Trouble
from lib.vm import cache

# Path -> content; None: there is no such file.
Contents = Mapping[str, bytes | None]

_HEADER = "include/linux/zctap_mutant.h"
_SWITCH = "io_uring/zctap_mutant.c"
_MAKEFILE = "io_uring/Makefile"
_INCLUDE = "#include <linux/zctap_mutant.h>\n"
# What is made of a catalogue has changed if this has.
_FORMAT = "1"


@dataclass
class _Place:
    """A stretch of a file, the mutants that change it, and the places within it."""

    start: int
    end: int
    mutants: list[tuple[Mutant, Change]] = field(default_factory=list)
    inner: list[_Place] = field(default_factory=list)


def key(mutants: Iterable[Mutant]) -> str:
    """Return what tells one set of mutants from another."""
    parts = [path.read_bytes() for path in sorted(CATALOGUE.glob("zctap_mutant.*"))]
    return cache.key_of(_FORMAT, *parts, *(mutant.content for mutant in mutants))


def compiled_in(contents: Contents, mutants: Iterable[Mutant]) -> dict[str, bytes | None]:
    """Return the files with the mutants, and those that let one be chosen. Raises Trouble."""
    after = dict(contents)
    changes: dict[str, list[tuple[Mutant, Change]]] = {}
    for mutant in mutants:
        for change in mutant.changes:
            changes.setdefault(change.file, []).append((mutant, change))
    for file, of_file in changes.items():
        content = contents.get(file)
        if content is None:
            raise Trouble(f"{of_file[0][0].id}: the series does not touch {file}")
        after[file] = rewritten(content.decode(), of_file).encode()
    makefile = after.get(_MAKEFILE) or b""
    after[_MAKEFILE] = makefile + b"obj-y\t\t\t\t+= zctap_mutant.o\n"
    after[_HEADER] = (CATALOGUE / "zctap_mutant.h").read_bytes()
    after[_SWITCH] = (CATALOGUE / "zctap_mutant.c").read_bytes()
    return after


def rewritten(text: str, changes: Iterable[tuple[Mutant, Change]]) -> str:
    """Return a file's text with mutants in it. Raises Trouble."""
    whole = _Place(0, len(text))
    places: dict[tuple[int, int], _Place] = {}
    for mutant, change in changes:
        span = _find(text, mutant, change)
        places.setdefault(span, _Place(*span)).mutants.append((mutant, change))
    # Those that begin first, and of these the longest, come before what is within them.
    for _, place in sorted(places.items(), key=lambda item: (item[0][0], -item[0][1])):
        _insert(whole, place)
    head, include, rest = _rendered(text, whole).partition("#include ")
    return head + _INCLUDE + include + rest if include else _INCLUDE + head


def _insert(around: _Place, place: _Place) -> None:
    """Put a place where it belongs; none that begins later has been put there. Raises Trouble."""
    last = around.inner[-1] if around.inner else None
    if last is None or last.end <= place.start:
        around.inner.append(place)
    elif place.end <= last.end:
        _insert(last, place)
    else:
        raise Trouble(f"{last.mutants[0][0].id} and {place.mutants[0][0].id} overlap")


def _rendered(text: str, place: _Place) -> str:
    """Return the text of a place with the mutants of it and within it. Raises Trouble."""
    parts, at = [], place.start
    for inner in place.inner:
        parts += [text[at : inner.start], _rendered(text, inner)]
        at = inner.end
    code = "".join([*parts, text[at : place.end]])
    for mutant, change in place.mutants:
        shared = code != text[place.start : place.end]
        if change.kind == "text" and shared and OLD not in change.new:
            raise Trouble(f"{mutant.id}: others change this place, too: it has to have {OLD}")
        code = _chosen(mutant, change, code)
    return code


def _chosen(mutant: Mutant, change: Change, old: str) -> str:
    """Return code that does `old` unless the mutant is chosen."""
    condition = f"zctap_mutant(0x{mutant.number:08x})"
    if change.kind == "text":
        return change.new.replace(CONDITION, condition).replace(OLD, old)
    if change.kind == "statement":
        return f"{{ if ({condition}) {{ {change.new} }} else {{ {old} }} }}"
    return f"({condition} ? ({change.new}) : ({old}))"


def _find(text: str, mutant: Mutant, change: Change) -> tuple[int, int]:
    """Return where the one place is that a change means. Raises Trouble."""
    where, start, end = change.file, 0, len(text)
    if change.at >= 0:
        # Sources are ASCII but for names of authors: bytes have to become characters.
        start = len(text.encode()[: change.at].decode())
        if text.startswith(change.old, start):
            return start, start + len(change.old)
        raise Trouble(f"{mutant.id}: {where} has changed")
    if change.function:
        where = f"{change.function}() of {change.file}"
        bounds = _function(text, change.function)
        if bounds is None:
            raise Trouble(f"{mutant.id}: there is no {where}")
        start, end = bounds
    # Words may be any white space apart: the catalogue need not copy the source's.
    pattern = re.compile(r"\s+".join(map(re.escape, change.old.split())))
    found = list(pattern.finditer(text, start, end))
    if len(found) != 1:
        count = f"{len(found)} times" if found else "not"
        raise Trouble(f"{mutant.id}: is {count} in {where}: {' '.join(change.old.split())}")
    return found[0].span()


def _function(text: str, name: str) -> tuple[int, int] | None:
    """Return where a function's definition begins and ends, in the kernel's style."""
    for found in re.finditer(rf"^[^\s#/*].*\b{name}\(|^{name}\(", text, re.MULTILINE):
        body, prototype = text.find("{", found.end()), text.find(";", found.end())
        if body < 0 or 0 <= prototype < body:
            continue
        end = text.find("\n}\n", body)
        return found.start(), end if end >= 0 else len(text)
    return None
