# SPDX-License-Identifier: GPL-2.0
"""Sources with mutants in them: what is put where, and that it is C that does what it should."""

import shutil
import subprocess
from pathlib import Path

import pytest

from lib.mutants.catalogue import CATALOGUE, Change, Mutant, load
from lib.mutants.schemata import compiled_in, key, rewritten
from lib.trouble import Trouble
from lib.vm import patches, source

SOURCE = """\
/* f(x) is f's value */
#include <stdio.h>

static int g(int x);

static int f(int x)
{
	int n = 0;

	if (x > 3)
		return -1;
	while (x--)
		n += 2;
	if (n)
		n++;
	else
		n = 100;
	return n;
}

static int
g(int x)
{
	return x > 3;
}
"""


def mutant(name: str, old: str, new: str, function: str = "f") -> Mutant:
    return Mutant(name, ("REG-1",), "breaks", (Change("x.c", old, new, function),))


def mutated(*mutants: Mutant) -> str:
    return rewritten(SOURCE, [(one, change) for one in mutants for change in one.changes])


def condition(one: Mutant) -> str:
    return f"zctap_mutant(0x{one.number:08x})"


def test_expression():
    one = mutant("a", "x > 3", "x >= 3")
    text = mutated(one)
    assert f"if (({condition(one)} ? (x >= 3) : (x > 3)))" in text
    assert text.count("zctap_mutant(") == 1


def test_statement():
    one = mutant("a", "n++;", "")
    assert f"{{ if ({condition(one)}) {{  }} else {{ n++; }} }}\n\telse" in mutated(one)


def test_text():
    one = mutant("a", "n += 2", "n += @MUTANT@ ? 3 : 2")
    assert f"n += {condition(one)} ? 3 : 2;" in mutated(one)


def test_white_space_of_the_source_does_not_matter():
    one = mutant("a", "if (x > 3) return -1;", "")
    assert "else { if (x > 3)\n\t\treturn -1; }" in mutated(one)


def test_header_is_included_first():
    text = mutated(mutant("a", "n++;", ""))
    assert "#include <linux/zctap_mutant.h>\n#include <stdio.h>" in text


def test_several_on_one_place_and_within_it():
    whole = mutant("whole", "if (x > 3) return -1;", "")
    other = mutant("other", "if (x > 3) return -1;", "return 0;")
    inner = mutant("inner", "x > 3", "x > 4")
    for text in (mutated(whole, inner, other), mutated(inner, whole, other)):
        assert all(text.count(condition(one)) == 1 for one in (whole, other, inner))
        # The first of them around what the source has, which has the inner one.
        assert text.index(condition(other)) < text.index(condition(whole))
        assert text.index(condition(whole)) < text.index(condition(inner))


def test_text_keeps_others_if_it_says_where():
    inner = mutant("inner", "x > 3", "x > 4")
    outer = mutant("outer", "if (x > 3) return -1;", "if (@MUTANT@) x = 0; @OLD@")
    text = mutated(inner, outer)
    assert condition(inner) in text
    with pytest.raises(Trouble, match="outer: others change this place, too"):
        mutated(inner, mutant("outer", "if (x > 3) return -1;", "if (@MUTANT@) x = 0;"))


def test_places_that_overlap():
    with pytest.raises(Trouble, match="a and b overlap"):
        mutated(mutant("a", "n += 2; if (n)", "@MUTANT@"), mutant("b", "if (n) n++;", ""))


@pytest.mark.parametrize(
    ("old", "function", "said"),
    [
        ("n--;", "f", r"a: is not in f\(\) of x.c: n--;"),
        ("n", "f", r"a: is \d+ times in f\(\) of x.c: n"),
        ("x > 3", "", "a: is 2 times in x.c: x > 3"),
        ("n++;", "g", r"a: is not in g\(\) of x.c"),
        ("n++;", "h", r"a: there is no h\(\) of x.c"),
    ],
)
def test_place_that_is_not_the_only_one(old: str, function: str, said: str):
    with pytest.raises(Trouble, match=said):
        mutated(mutant("a", old, "0;", function))


def test_function_whose_type_is_on_a_line_of_its_own():
    assert mutated(mutant("a", "x > 3", "x > 4", "g")).rindex("zctap_mutant") > SOURCE.index("\ng(")


def test_files_that_come_with_it():
    contents = {"x.c": SOURCE.encode(), "io_uring/Makefile": b"obj-y += a.o\n", "y.c": b"y"}
    after = compiled_in(contents, [mutant("a", "n++;", "")])
    assert after["y.c"] == b"y"
    assert b"zctap_mutant.o" in (after["io_uring/Makefile"] or b"")
    assert after["include/linux/zctap_mutant.h"] == (CATALOGUE / "zctap_mutant.h").read_bytes()
    assert after["io_uring/zctap_mutant.c"]
    with pytest.raises(Trouble, match=r"a: the series does not touch x\.c"):
        compiled_in({"x.c": None}, [mutant("a", "n++;", "")])


def test_key():
    one, other = mutant("a", "n++;", ""), mutant("b", "n++;", "")
    assert key([one]) == key([mutant("a", "n++;", "")])
    assert len({key([one]), key([other]), key([one, other]), key([])}) == 4


@pytest.mark.skipif(not shutil.which("gcc"), reason="no gcc")
def test_it_compiles_and_each_is_chosen_by_its_number(tmp_path: Path):
    mutants = [
        mutant("limit", "x > 3", "x > 2"),
        mutant("no-limit", "if (x > 3) return -1;", ""),
        mutant("step", "n += 2", "n += @MUTANT@ ? 3 : 2"),
        mutant("last", "n++;", ""),
        mutant("zero", "n = 100;", "n = 200;"),
    ]
    switch = """
static unsigned int chosen;
#define zctap_mutant(nr) (chosen == (nr))
"""
    main = """
int main(int argc, char **argv)
{
	chosen = strtoul(argv[1], 0, 0);
	for (int x = 0; x < 6; x++)
		printf("%d ", f(x));
	return 0;
}
"""
    text = mutated(*mutants).replace("#include <linux/zctap_mutant.h>", switch)
    program = tmp_path / "x"
    (tmp_path / "x.c").write_text("#include <stdlib.h>\n" + text + main)
    subprocess.run(["gcc", "-w", "-o", program, tmp_path / "x.c"], check=True)

    def output(number: int) -> str:
        done = subprocess.run([program, str(number)], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert output(0) == "100 3 5 7 -1 -1"
    assert [output(one.number) for one in mutants] == [
        "100 3 5 -1 -1 -1",
        "100 3 5 7 9 11",
        "100 4 7 10 -1 -1",
        "100 2 4 6 -1 -1",
        "200 3 5 7 -1 -1",
    ]


def test_ours_fit_the_reference_kernel():
    if not source.at_hand():
        pytest.skip("Debian's source is not unpacked")
    reference = source.debian()
    if not (
        reference.pristine and reference.path.with_name(f"{reference.path.name}.orig").exists()
    ):
        pytest.skip("the series has never been applied")
    contents = patches.apply_aside(patches.series(source.SERIES), reference.pristine)
    after = compiled_in(contents, load())
    assert sum((content or b"").count(b"zctap_mutant(0x") for content in after.values()) > 90
