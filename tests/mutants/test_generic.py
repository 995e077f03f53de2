# SPDX-License-Identifier: GPL-2.0
"""Generic mutants: what is changed where, and what of it is worth a run."""

import shutil
from pathlib import Path

import pytest

from lib.mutants import generic, sample
from lib.mutants.catalogue import Change, Mutant
from lib.mutants.objects import Objects
from lib.mutants.schemata import rewritten
from lib.trouble import Trouble

SOURCE = """\
/* é: not one byte a character */
enum { A = 1 + 2 };
static int table[1 + 2];

static int f(struct x *x, int n)
{
	int a[3 + 4], ret = -EINVAL;

	if (!x || n > 7)
		return -EFAULT;
	switch (n) {
	case 5:
		n += 2;
	}
	ret = -ENOMEM;
	g(x);
	ASSERT_RTNL();
	for (n = 9; n != x->n; n--)
		h();
	return ret;
}

static int __init at_boot(void)
{
	return n < m;
}

int *other(void)
{
	return n && m;
}
"""


def changes(lines: set[int] | None = None) -> list[Change]:
    return generic.mutations(SOURCE, "x.c", lines)


def pairs(lines: set[int] | None = None) -> set[tuple[str, str]]:
    return {(change.old, change.new) for change in changes(lines)}


def test_each_kind():
    assert {
        ("n > 7", "n >= 7"),
        ("n > 7", "n < 7"),
        ("!x || n > 7", "!x && n > 7"),
        ("!x || n > 7", "!(!x || n > 7)"),
        ("!x", "!!(x)"),
        ("7", "7 + 1"),
        ("-EFAULT", "0"),
        ("n += 2", "n -= 2"),
        ("n += 2;", ""),
        ("ret = -ENOMEM;", "ret = 0;"),
        ("g(x);", ""),
        ("n != x->n", "n == x->n"),
        ("n--", "n++"),
        ("n && m", "n || m"),
    } <= pairs()


def test_what_has_to_be_constant_is_left_alone():
    olds = {change.old for change in changes()}
    assert not olds & {"1 + 2", "3 + 4", "3", "5"}


def test_what_nobody_could_notice_is_left_alone():
    assert not {change.function for change in changes()} & {"at_boot"}
    assert not [change for change in changes() if change.old.startswith("ASSERT_RTNL")]
    assert [new for old, new in pairs() if old == "!x"] == ["!!(x)"]


def test_only_some_lines():
    assert pairs({10}) == {("-EFAULT", "0")}
    assert changes(set()) == []


def test_functions_and_places():
    assert {change.function for change in changes()} == {"f", "other"}
    for change in changes():
        assert SOURCE.encode()[change.at :].startswith(change.old.encode())


def test_all_of_them_fit_into_one_source():
    mutants = generic.mutants(changes(), [], "g")
    text = rewritten(SOURCE, [(mutant, mutant.changes[0]) for mutant in mutants])
    assert all(text.count(f"zctap_mutant(0x{mutant.number:08x})") >= 1 for mutant in mutants)
    moved = [(mutants[-1], mutants[-1].changes[0])]
    with pytest.raises(Trouble, match=r"x\.c has changed"):
        rewritten("x" + SOURCE, moved)


def test_neighbours_say_which_tests_may_notice():
    near = Mutant("m", ("REG-2", "REG-1"), "breaks", (Change("x.c", "a", "b", "f"),))
    mutants = generic.mutants(changes(), [near], "g")
    assert mutants[0].id == "g-0"
    by_function = {mutant.changes[0].function: mutant.near for mutant in mutants}
    assert by_function == {"f": ("REG-1", "REG-2"), "other": ()}
    assert {mutant.contract for mutant in mutants} == {()}


@pytest.mark.skipif(not shutil.which("gcc"), reason="no gcc")
def test_what_compiles_to_the_same_or_not_at_all_is_no_mutant(tmp_path: Path):
    source = "int f(int x)\n{\n\treturn x * 2;\n}\nint n;\n"
    (tmp_path / ".x.o.cmd").write_text(
        "savedcmd_x.o := gcc -Wp,-MMD,.x.o.d -O2 -Dzctap_mutant(x)=n -c -o x.o /t/x.c ; objtool x\n"
    )
    header = tmp_path / "linux" / "zctap_mutant.h"
    header.parent.mkdir()
    header.write_text("extern int n;\n")
    cmd = tmp_path / ".x.o.cmd"
    cmd.write_text(cmd.read_text().replace("-O2", f"-O2 -I{tmp_path}"))
    objects = Objects(tmp_path, tmp_path)

    def differs(new: str) -> bool:
        change = Change("x.c", "x * 2", new, "f", at=source.index("x * 2"))
        return objects.differs(Mutant("m", (), "breaks", (change,)), source)

    assert differs("x * 3")
    assert not differs("x + x")
    assert not differs("x +")
    assert not list(tmp_path.glob("*.o"))
    with pytest.raises(Trouble, match="cannot be read"):
        Objects(tmp_path / "none", tmp_path).differs(
            Mutant("m", (), "breaks", (Change("x.c", "x", "y", at=0),)), source
        )


def test_sample_is_kept(tmp_path: Path):
    path = tmp_path / "sample.json"
    mutant = Mutant("m", (), "breaks", (Change("x.c", "a", "b", "f", 3),), near=("REG-1",))
    assert sample.kept(path, lambda: [mutant]) == [mutant]
    assert sample.kept(path, list) == [mutant]
    path.write_text("{")
    assert sample.kept(path, list) == []


def test_interval():
    low, high = sample.interval(36, 40)
    assert (round(low, 2), round(high, 2)) == (0.77, 0.96)
    assert sample.interval(0, 0) == (0.0, 1.0)
    assert sample.interval(10, 10)[1] == 1.0
