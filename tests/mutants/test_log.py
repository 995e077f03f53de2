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


def test_an_older_log_does_not_say_who_came_after_another(tmp_path: Path):
    log = Log(tmp_path / "log")
    log.add(replace(LIVES, apart=True, kills=[KILL, replace(KILL, test="test_a.py::test_y")]))
    path = tmp_path / "log"
    path.write_text(path.read_text().replace(', "after": false', ""))
    assert [kill.after for kill in Log(path).attempts[0].kills] == [False, True]


def test_damaged_lines_cost_only_themselves(tmp_path: Path):
    path = tmp_path / "log"
    Log(path).add(LIVES)
    with path.open("a") as file:
        file.write('{"mutant": 1}\n[]\n{"mutant": "m", "ke')
    Log(path).add(KILLED)
    assert Log(path).attempts == [LIVES, KILLED]


def test_a_kill_lasts_as_long_as_its_test():
    other = Suite("shared", {"test_a.py": "1", "test_b.py": "changed", "test_c.py": "3"})
    assert KILLED.valid("key", SUITE) == KILLED
    assert KILLED.valid("key", other) == KILLED
    assert not KILLED.valid("key", Suite("shared", {"test_a.py": "2"}))
    assert not KILLED.valid("key", Suite("shared", {}))
    assert not KILLED.valid("other", SUITE)
    assert not KILLED.valid("key", replace(SUITE, shared="changed"))


def test_a_survivor_meets_every_change():
    assert LIVES.valid("key", SUITE) == LIVES
    assert not LIVES.valid("key", Suite("shared", {**SUITE.modules, "c": "3"}))
    assert not LIVES.valid("key", Suite("shared", {"test_a.py": "1"}))


def test_what_each_test_of_a_full_run_saw_lasts_as_long_as_it():
    second = Kill("test_b.py::test_y", "failed", after=True)
    full = replace(
        LIVES, apart=True, kills=[KILL, second], met=["test_a.py::test_1", "test_b.py::test_2"]
    )
    assert full.valid("key", SUITE) == full
    half = replace(full, kills=[second], met=["test_b.py::test_2"])
    assert full.valid("key", Suite("shared", {"test_a.py": "2", "test_b.py": "2"})) == half
    assert not full.valid("key", Suite("shared", {"test_a.py": "2", "test_b.py": "3"}))


def test_who_failed_after_another_is_no_kill_without_it(tmp_path: Path):
    second = Kill("test_b.py::test_y", "failed", after=True)
    log = Log(tmp_path / "log")
    log.add(replace(LIVES, apart=True, kills=[KILL, second]))
    changed = Suite("shared", {"test_a.py": "2", "test_b.py": "2"})
    assert log.latest({"m": "key"}, SUITE)["m"].first == [KILL]
    found = log.latest({"m": "key"}, changed)["m"]
    assert (found.first, found.weight, found.kills) == ([], 0, [second])
    # Not survived either: whoever else would have failed has not been asked.
    assert not replace(LIVES, kills=[KILL, second]).valid("key", changed)
    first = replace(second, after=False)
    log.add(replace(LIVES, modules=changed.modules, kills=[first]))
    assert log.latest({"m": "key"}, changed)["m"].kills == [first]


def test_kills_of_several_runs_add_up(tmp_path: Path):
    log = Log(tmp_path / "log")
    log.add(KILLED)
    second = Kill("test_b.py::test_y", "failed")
    log.add(replace(LIVES, apart=True, met=["test_a.py::test_1"]))
    log.add(replace(LIVES, apart=True, kills=[KILL, second], met=["test_b.py::test_2"]))
    log.add(replace(LIVES, apart=True, met=["test_b.py::test_3"]))
    found = log.latest({"m": "key"}, SUITE)["m"]
    assert found.kills == [KILL, second]
    assert found.met == ["test_a.py::test_1", "test_b.py::test_2", "test_b.py::test_3"]


def test_a_run_apart_says_nothing_without_a_kill(tmp_path: Path):
    log = Log(tmp_path / "log")
    so_far = replace(LIVES, so_far=True)
    log.add(so_far)
    log.add(replace(LIVES, apart=True, met=["test_a.py::test_1"]))
    found = log.latest({"m": "key"}, SUITE)["m"]
    assert found == replace(so_far, met=["test_a.py::test_1"])
    assert (found.weight, log.attempts[1].weight) == (1, 0)


def test_the_last_one_counts(tmp_path: Path):
    log = Log(tmp_path / "log")
    log.add(LIVES)
    log.add(KILLED)
    log.add(replace(LIVES, mutant="other"))
    log.add(replace(KILLED, key="old"))
    assert log.latest({"m": "key"}, SUITE) == {"m": KILLED}


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
