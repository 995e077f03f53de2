# SPDX-License-Identifier: GPL-2.0
"""Values of enumerators in a C header: enough of C for include/uapi."""

import re

_NOISE = re.compile(r"/\*.*?\*/|//[^\n]*|^\s*#(?:\\\n|[^\n])*", re.DOTALL | re.MULTILINE)
_ENUM = re.compile(r"\benum\s*\w*\s*\{([^{}]*)\}")
_MEMBER = re.compile(r"(\w+)\s*(?:=\s*(.+))?$", re.DOTALL)


def _members(body: str) -> dict[str, int]:
    found: dict[str, int] = {}
    following: int | None = 0
    for part in body.split(","):
        match = _MEMBER.match(part.strip())
        if not match:
            continue  # behind the last comma
        name, expression = match.groups()
        if expression:
            try:
                following = int(expression.strip(), 0)
            except ValueError:
                following = found.get(expression.strip())  # None: an expression we do not read
        if following is not None:
            found[name] = following
            following += 1
    return found


def enumerators(text: str, names: set[str]) -> dict[str, int]:
    """The values of those enumerators that the header has.

    Left out are those whose value hangs on an expression that is neither a number nor a name.
    """
    found: dict[str, int] = {}
    for body in _ENUM.findall(_NOISE.sub(" ", text)):
        found |= _members(body)
    return {name: found[name] for name in names & found.keys()}
