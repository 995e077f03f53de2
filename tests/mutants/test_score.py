# SPDX-License-Identifier: GPL-2.0
"""Score and tables."""

from dataclasses import replace

from lib.mutants import score
from lib.mutants.catalogue import Mutant
from lib.mutants.log import Attempt, Kill
from lib.mutants.order import Test
from lib.mutants.score import Row, Score

T = "selftests/zctap/test_a.py::test_x"
TESTS = {T: Test(0.1, frozenset({"REG-1"})), "idle": Test(0.1, frozenset({"REG-2"}))}


def mutant(name: str, *contract: str) -> Mutant:
    return Mutant(name, contract, f"{name} | breaks", ())


def attempt(*kills: Kill) -> Attempt:
    return Attempt("m", "key", "shared", {}, 3.25, 1, kills=list(kills))


KILLED = Row(mutant("killed", "REG-1", "REG-2"), attempt(Kill(T, "failed"), Kill("gone", "panic")))
LIVES = Row(mutant("lives", "REG-10"), attempt())
UNKNOWN = Row(mutant("unknown", "REG-3"))


def test_summary():
    assert Score([KILLED, LIVES], TESTS).summary == "1 of 2 mutants killed (50.0 %)"
    assert Score([KILLED, UNKNOWN], TESTS).summary.endswith(
        "1 of 1 mutants killed (100.0 %), 1 not run"
    )
    more = Row(mutant("more", "REG-4"), replace(attempt(), so_far=True))
    assert Score([KILLED, more], TESTS).summary.endswith("(100.0 %), 1 not yet met by all tests")
    assert (more.state, Score([more], TESTS).survivors) == ("so far", [])
    apart = Row(mutant("apart", "REG-4"), replace(attempt(), apart=True, met=[T]))
    assert apart.state == "not run"
    assert Score([UNKNOWN], TESTS).summary == "0 of 0 mutants killed (no score), 1 not run"


def test_a_kill_counts_for_the_promises_that_its_test_shows():
    found = Score([KILLED, LIVES, UNKNOWN], TESTS)
    assert found.credited() == {"REG-1": ["killed"], "REG-2": [], "REG-10": []}
    assert found.uncredited() == ["REG-2", "REG-10"]
    after = replace(KILLED, attempt=attempt(Kill("gone", "failed"), Kill(T, "failed", after=True)))
    assert Score([after], TESTS).uncredited() == ["REG-1", "REG-2"]


def test_table():
    assert score.table([KILLED, LIVES, UNKNOWN]) == [
        "killed    killed   3.2  test_a.py::test_x (failed)",
        "survived  lives    3.2  lives | breaks",
        "not run   unknown  -    unknown | breaks",
    ]
    assert score.table([]) == []


def test_markdown_and_json():
    found = Score([KILLED, LIVES, UNKNOWN], TESTS, idle=["idle"], unasked=["other"])
    text = score.to_markdown(found)
    assert "| `killed` | REG-1, REG-2 | killed | `test_a.py::test_x` | failed | 3.2 |" in text
    assert "| `lives` | REG-10 | survived | lives \\| breaks |  | 3.2 |" in text
    assert text.index("| REG-2 | **none** |") < text.index("| REG-10 | **none** |")
    fields = score.to_json(found)
    assert (fields["killed"], fields["survived"], fields["not_run"]) == (1, 1, 1)
    assert fields["mutants"][0]["kills"][0] == {"test": T, "how": "failed", "why": ""}
    assert fields["mutants"][2]["seconds"] is None
