# SPDX-License-Identifier: GPL-2.0
"""KTAP version 1, as Documentation/dev-tools/ktap.rst has it and kunit.py parses it.

Two levels: modules, which the top-level plan counts, and their tests, indented by two
spaces. Lines are written as soon as their order allows.

A module of which no test is known is a plain line: parsers take a subtest with the name of its
parent for the parent's end. What no plan has counted, a guest that was lost before it had
announced a test, is written among the tests of the module that comes next.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TextIO

from lib.report.model import GOOD, Result, module_of

# kunit.py reads these, anywhere in a line, as the end of the output.
_ENDINGS = re.compile(r"(List of all partitions|Kernel panic - not syncing|reboot: System halted)")
# And lone surrogates, which no encoding has.
_CONTROL = re.compile(r"[^\x20-\x7e\u00a0-\ud7ff\ue000-\U0010ffff]")
_INDENT = "  "
# The name of all tests of a module that are not known.
UNCOLLECTED = "uncollected"


class Writer:
    """Writes results module by module; a module's tests must all be known before its first."""

    def __init__(self, out: TextIO) -> None:
        """`out` takes the KTAP."""
        self._out = out
        self._modules: dict[str, set[str]] = {}
        self._waiting: dict[str, list[Result]] = {}
        self._strays: list[Result] = []
        self._current: str | None = None
        self._plain = False
        self._done: list[str] = []
        self._written = 0
        self._bad = 0
        self._ran = 0

    def begin(self, modules: Iterable[str], notes: list[str]) -> None:
        """Write the head; `notes` become diagnostic lines below the plan."""
        self._modules = {module: set() for module in modules}
        self._line("KTAP version 1")
        self._line(f"1..{len(self._modules)}")
        for note in notes:
            self._line(f"# {clean(note)}")

    def announce(self, tests: Iterable[str]) -> None:
        """Add tests to their modules; what is known already may be among them."""
        for test in tests:
            if module_of(test) in self._modules:
                self._modules[module_of(test)].add(test)

    def result(self, result: Result) -> bool:
        """Write a result, or keep it until its module's turn comes; return whether it is written.

        Modules follow each other in the order of their first results.
        """
        if result.module not in self._modules:
            self._strays.append(result)
            return False
        self._waiting.setdefault(result.module, []).append(result)
        if self._current is None:
            self._open(result.module)
        self._flush()
        return result.module not in self._waiting

    def _flush(self) -> None:
        while self._current is not None:
            for result in self._waiting.pop(self._current, []):
                self._test(result)
            if self._written < len(self._modules[self._current]):
                return
            self._close()
            # Python's dictionaries keep their order: the oldest result comes first.
            following = next(iter(self._waiting), None)
            if following is not None:
                self._open(following)

    def _open(self, module: str) -> None:
        strays, self._strays = self._strays, []
        tests = self._modules[module]
        tests |= {result.id for result in (*strays, *self._waiting[module])}
        self._current, self._plain = module, tests == {module}
        self._written = self._bad = self._ran = 0
        if self._plain:
            return
        self._waiting[module] = strays + self._waiting[module]
        self._line(f"{_INDENT}KTAP version 1")
        self._line(f"{_INDENT}# Subtest: {name_of(module)}")
        self._line(f"{_INDENT}1..{len(tests)}")

    def _test(self, result: Result) -> None:
        self._written += 1
        self._bad += result.outcome not in (*GOOD, "skipped")
        self._ran += result.outcome != "skipped"
        name, indent, number = name_of(result.name), _INDENT, self._written
        if self._plain:
            indent, number = "", len(self._done) + 1
        elif result.id == self._current:
            name = UNCOLLECTED
        elif result.module != self._current:
            name = name_of(result.id)
        for line in result.detail.splitlines():
            self._line(f"{indent}# {name}: {clean(line)}")
        self._line(f"{indent}{verdict(result, number, name)}")

    def _close(self) -> None:
        assert self._current is not None
        self._done.append(self._current)
        number, name = len(self._done), name_of(self._current)
        self._current = None
        if self._plain:
            return
        if self._bad:
            self._line(f"not ok {number} {name}")
        else:
            self._line(f"ok {number} {name}" + ("" if self._ran else " # SKIP all of its tests"))

    def end(self) -> None:
        """Write what has found no module to be written in."""
        strays, self._strays = self._strays, []
        for result in strays:
            self._modules.setdefault(result.module, set())
            self.result(result)

    def empty(self, module: str) -> None:
        """Write the line of a module that has no test, if the plan has counted it."""
        if module in self._modules:
            self._done.append(module)
            self._line(f"ok {len(self._done)} {name_of(module)} # SKIP it has no tests")

    def note(self, text: str) -> None:
        """Write a diagnostic line."""
        self._line(f"# {clean(text)}")

    def _line(self, line: str) -> None:
        self._out.write(line + "\n")
        self._out.flush()


def verdict(result: Result, number: int, name: str) -> str:
    """Return the result line of a test.

    An expected failure is "ok": parsers know no XFAIL, and take "not ok" for what it says.
    """
    reason = clean(result.reason).replace("#", "")
    match result.outcome:
        case "passed":
            return f"ok {number} {name}"
        case "skipped":
            return f"ok {number} {name} # SKIP {reason}".rstrip()
        case "xfailed":
            return f"ok {number} {name} # XFAIL {reason}".rstrip()
        case "xpassed":
            return f"ok {number} {name} # XPASS {reason}".rstrip()
        case "failed":
            return f"not ok {number} {name}"
        case "timeout":
            return f"not ok {number} {name} # TIMEOUT {reason}".rstrip()
    return f"not ok {number} {name} # ERROR {result.outcome}: {reason}".rstrip()


def name_of(text: str) -> str:
    """Return a test's name as KTAP can have it: "#" would begin a directive."""
    return clean(text).replace("#", "_")


def clean(text: str) -> str:
    """Return text on one line, without control characters, that ends no parser's input."""
    visible = _CONTROL.sub(lambda match: " " if match[0] in "\t\r\n" else "?", text)
    return _ENDINGS.sub(lambda match: match[0].replace(" ", "_"), visible)
