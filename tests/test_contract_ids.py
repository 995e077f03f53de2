# SPDX-License-Identifier: GPL-2.0
"""The contract's ids: every one that a test claims to show has its entry in docs/contract.md."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CONTRACT = ROOT / "docs" / "contract.md"
SUITE = sorted((ROOT / "selftests" / "zctap").glob("*.py"))

ENTRY = re.compile(r"^- \*\*([A-Z]+-\d+)\*\* \[(?:RFC|REF|v1|v3)\] ", re.MULTILINE)
REFERENCE = re.compile(r"\b(?:REG|BUF|FILL|RECV|REL|DBG|DEV)-\d+\b")


def entries(text: str) -> list[str]:
    """The ids that a document has an entry for, in its order."""
    return ENTRY.findall(text)


def markers(source: str) -> list[tuple[int, str]]:
    """Line and id of each argument of a `contract(...)` marker."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
        if name != "contract":
            continue
        for arg in node.args:
            text = arg.value if isinstance(arg, ast.Constant) else ast.unparse(arg)
            found.append((arg.lineno, str(text)))
    return found


def test_entries_of_a_document() -> None:
    text = "- **REG-1** [RFC] one\n  see **REG-2** [REF]\n- **REL-10** [v3] two\n- **DEV-1** none\n"
    assert entries(text) == ["REG-1", "REL-10"]


def test_markers_of_a_module() -> None:
    source = (
        'contract = pytest.mark.contract\n@contract("A-1", "A-2")\ndef test(): other("A-3")\n'
        'pytestmark = [pytest.mark.contract("A-4")]\npytest.param(1, marks=contract(name))\n'
    )
    assert sorted(markers(source)) == [(2, "A-1"), (2, "A-2"), (4, "A-4"), (5, "name")]


def test_each_id_has_one_entry() -> None:
    counts = Counter(entries(CONTRACT.read_text()))
    assert counts
    assert [name for name, count in counts.items() if count > 1] == []


def test_document_refers_to_its_own_entries() -> None:
    text = CONTRACT.read_text()
    assert sorted(set(REFERENCE.findall(text)) - set(entries(text))) == []


@pytest.mark.parametrize("path", SUITE, ids=lambda path: path.name)
def test_markers_are_in_the_document(path: Path) -> None:
    known = set(entries(CONTRACT.read_text()))
    missing = [
        f"{path.name}:{line}: {name}"
        for line, name in markers(path.read_text())
        if name not in known
    ]
    assert not missing, f"not in docs/contract.md: {', '.join(missing)}"


def test_there_are_markers() -> None:
    assert any(markers(path.read_text()) for path in SUITE)
