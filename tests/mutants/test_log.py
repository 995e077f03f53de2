# SPDX-License-Identifier: GPL-2.0
"""The log of what became of mutants: what is kept, what still holds, what is learned of it."""

from dataclasses import replace
from pathlib import Path

from lib.mutants import baseline
from lib.mutants.log import Attempt, Kill, Log, Suite
from lib.mutants.order import Test
from lib.report.model import Result

SUITE = Suite("shared", {"test_a.py": "1", "test_b.py": "2"})
KILL = Kill("test_a.py::test_x", "failed", "assert 0")
LIVES = Attempt("m", "key", "shared", SUITE.modules, 10.0, 100)
KILLED = Attempt("m", "key", "shared", {"test_a.py": "1"}, 3.0, 4, kills=[KILL])


def test_lines_come_back(tmp_path: Path):
    log = Log(tmp_path / "log")
    log.add(LIVES)
    log.add(KILLED)
    assert Log(tmp_path / "log").attempts == [LIVES, KILLED]


def test_damaged_lines_cost_only_themselves(tmp_path: Path):
    path = tmp_path / "log"
    Log(path).add(LIVES)
    with path.open("a") as file:
        file.write('{"mutant": 1}\n[]\n{"mutant": "m", "ke')
    Log(path).add(KILLED)
    assert Log(path).attempts == [LIVES, KILLED]


def test_a_kill_lasts_as_long_as_its_test():
    other = Suite("shared", {"test_a.py": "1", "test_b.py": "changed", "test_c.py": "3"})
    assert KILLED.holds("key", SUITE, full=False)
    assert KILLED.holds("key", other, full=False)
    assert not KILLED.holds("key", Suite("shared", {"test_a.py": "2"}), full=False)
    assert not KILLED.holds("key", Suite("shared", {}), full=False)
    assert not KILLED.holds("other", SUITE, full=False)
    assert not KILLED.holds("key", replace(SUITE, shared="changed"), full=False)


def test_a_survivor_meets_every_change():
    assert LIVES.holds("key", SUITE, full=False)
    assert not LIVES.holds("key", Suite("shared", {**SUITE.modules, "c": "3"}), full=False)
    assert not LIVES.holds("key", Suite("shared", {"test_a.py": "1"}), full=False)


def test_only_a_full_run_will_do_where_one_is_wanted():
    full = replace(KILLED, full=True, modules=SUITE.modules)
    assert not KILLED.holds("key", SUITE, full=True)
    assert full.holds("key", SUITE, full=True)
    assert full.holds("key", SUITE, full=False)
    assert not full.holds("key", Suite("shared", {"test_a.py": "1"}), full=True)


def test_the_last_one_counts(tmp_path: Path):
    log = Log(tmp_path / "log")
    log.add(LIVES)
    log.add(KILLED)
    log.add(replace(LIVES, mutant="other"))
    log.add(replace(KILLED, key="old"))
    assert log.latest({"m": "key"}, SUITE, full=False) == {"m": KILLED}


def test_learned(tmp_path: Path):
    log = Log(tmp_path / "log")
    log.add(KILLED)
    log.add(replace(KILLED, key="old", kills=[Kill("b", "panic"), KILL]))
    log.add(LIVES)
    assert log.learned().killers == {"m": ["b", KILL.test]}


def test_baseline(tmp_path: Path):
    results = {
        "a": Result("a", "passed", 0.5),
        "b": Result("b", "skipped"),
        "c": Result("c", "xfailed", 1.0),
    }
    tests = baseline.of_trials([(results, {"a": ["REG-1", "BUF-2"]})])
    assert tests == {"a": Test(0.5, frozenset({"REG-1", "BUF-2"})), "c": Test(1.0)}
    path = tmp_path / "baseline-1.json"
    assert baseline.load(path, SUITE) == {}
    baseline.store(path, SUITE, tests)
    assert baseline.load(path, SUITE) == tests == baseline.latest(tmp_path)
    assert baseline.load(path, Suite("other", SUITE.modules)) == {}
    path.write_text("[]")
    assert baseline.load(path, SUITE) == {}
