# SPDX-License-Identifier: GPL-2.0
"""The catalogue: what is accepted, what is told about what is not, and ours as it is."""

from pathlib import Path

import pytest

from lib.mutants.catalogue import Change, Mutant, load, select
from lib.run.mutants import _check_contract
from lib.trouble import Trouble

ENTRY = """
[[mutant]]
id = "a-b"
contract = ["REG-1"]
what = "it breaks"
file = "net/x.c"
function = "f"
old = "x++;"
new = ""
"""


def catalogue(folder: Path, text: str) -> list[Mutant]:
    (folder / "area.toml").write_text(text)
    return load(folder)


def test_entry(tmp_path: Path):
    (mutant,) = catalogue(tmp_path, ENTRY)
    assert (mutant.id, mutant.contract, mutant.profile) == ("a-b", ("REG-1",), "mutants")
    assert mutant.changes == (Change("net/x.c", "x++;", "", "f"),)


def test_further_places_are_where_the_first_is_unless_they_say_so(tmp_path: Path):
    also = '[[mutant.also]]\nold = "y"\nnew = "z"\n'
    also += '[[mutant.also]]\nfile = "net/y.c"\nold = "y"\nnew = "z"\n'
    also += '[[mutant.also]]\nfunction = "g"\nold = "y"\nnew = "z"\n'
    (mutant,) = catalogue(tmp_path, ENTRY + also)
    places = [(change.file, change.function) for change in mutant.changes]
    assert places == [("net/x.c", "f"), ("net/x.c", "f"), ("net/y.c", ""), ("net/x.c", "g")]


def test_number_is_the_ids_own(tmp_path: Path):
    other = ENTRY.replace('"a-b"', '"c"')
    (alone,) = catalogue(tmp_path, ENTRY)
    both = catalogue(tmp_path, other + ENTRY)
    assert both[1] == alone
    assert both[1].number == alone.number != both[0].number
    assert all(0 < mutant.number < 1 << 32 for mutant in both)


def test_content_is_what_it_does():
    mutant = Mutant("a", ("REG-1",), "breaks", (Change("x.c", "a", "b"),))
    assert mutant.content == Mutant("a", ("REG-2",), "other", mutant.changes).content
    assert mutant.content != Mutant("a", ("REG-1",), "breaks", (Change("x.c", "a", "c"),)).content


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("x++;", "", "statement"),
        ("if (x) { y(); }", "", "statement"),
        ("x > y", "x >= y", "expression"),
        ("x > y", "x > y || @MUTANT@", "text"),
        ("x++;", "x += 1 + @MUTANT@;", "text"),
    ],
)
def test_kinds(old: str, new: str, kind: str):
    assert Change("x.c", old, new).kind == kind


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('id = "a-b"', "", "no id"),
        ('id = "a-b"', 'id = "A b"', "not kebab-case"),
        ('id = "a-b"', "id = 1", "not kebab-case"),
        ('what = "it breaks"\n', "", "a-b: no what"),
        ('["REG-1"]', "[]", "contract has to be"),
        ('["REG-1"]', '"REG-1"', "contract has to be"),
        ('"net/x.c"', "1", "file: not a string"),
        ('old = "x++;"', 'old = " "', "old is empty"),
        ('old = "x++;"', 'old = "x"', "needs another in its place"),
        ('function = "f"', 'profile = "fast"', "profile is one of"),
        ('function = "f"', 'funktion = "f"', "unknown: funktion"),
        ("[[mutant]]", "[mutant]", "wants tables"),
        ("[[mutant]]", "[[other]]", "wants tables"),
        ("[[mutant]]", "[[mutant", "area.toml: "),
    ],
)
def test_what_is_wrong_is_told_in_a_line(tmp_path: Path, old: str, new: str, said: str):
    assert old in ENTRY
    with pytest.raises(Trouble, match=said) as caught:
        catalogue(tmp_path, ENTRY.replace(old, new))
    assert "\n" not in str(caught.value)


def test_one_id_twice(tmp_path: Path):
    with pytest.raises(Trouble, match="two mutants are one: a-b, a-b"):
        catalogue(tmp_path, ENTRY + ENTRY)


def test_select(tmp_path: Path):
    mutants = catalogue(tmp_path, ENTRY + ENTRY.replace('"a-b"', '"c"'))
    assert select(mutants, []) == mutants
    assert [mutant.id for mutant in select(mutants, ["c", "c"])] == ["c"]
    with pytest.raises(Trouble, match="no such mutant: d, e"):
        select(mutants, ["d", "a-b", "e"])


def test_promises_nobody_has_made():
    with pytest.raises(Trouble, match=r"a: not in docs/contract.md: REG-99"):
        _check_contract([Mutant("a", ("REG-1", "REG-99"), "breaks", ())])


def test_ours():
    mutants = load()
    _check_contract(mutants)
    assert len(mutants) >= 90
