# SPDX-License-Identifier: GPL-2.0
"""The command line: what it accepts, and that bad input gets one line and status 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lib.run import guest_card, in_guest, tested
from lib.run.options import Options, parse
from lib.trouble import Trouble
from lib.vm import cache
from run_tests import needed

ROOT = Path(__file__).resolve().parents[2]


def test_defaults():
    options = parse([])
    assert (options.command, options.profile, options.paths) == ("run", "plain", [])
    assert options.install
    assert options.snapshot


def test_command_and_options_mix():
    options = parse(["build", "--profile", "debug", "--no-install"])
    assert (options.command, options.profile, options.install) == ("build", "debug", False)


def test_cards():
    wanted = parse(["--host", "--nic", "eth2", "--remote", "root@peer", "--i-know", "--force"]).nic
    assert (wanted.nic, wanted.remote, wanted.i_know) == ("eth2", "root@peer", True)
    assert tested.switches(wanted) == {"ZCTAP_I_KNOW": "1", "ZCTAP_FORCE": "1"}
    assert parse(["demo", "--host", "--nic", "eth2", "--remote", "root@peer"]).nic.nic == "eth2"
    found = guest_card.tested(parse(["--card", "macvlan"]).nic)
    assert found
    assert found.variables["NETIF"] == "card"
    assert "ZCTAP_FORCE" not in found.variables
    assert guest_card.tested(parse([]).nic) is None


def test_coverage_has_its_profile_and_a_place(tmp_path: Path):
    options = parse(["--coverage", str(tmp_path)])
    assert (options.profile, options.coverage) == ("cover", tmp_path)
    options = parse(["-k", "x", "--coverage"])
    assert options.coverage == cache.root() / "coverage"
    assert parse([]).coverage is None


def test_leaks_are_looked_for_after_all_tests_of_a_debug_run():
    assert parse(["--profile", "debug"]).kmemleak == "auto"
    assert not parse(["--profile", "debug", "-k", "x"]).kmemleak
    assert parse(["--profile", "debug", "-k", "x", "--kmemleak"]).kmemleak == "end"
    assert parse(["--profile", "debug", "--kmemleak=module"]).kmemleak == "module"
    assert not parse([]).kmemleak


def test_mutants_are_named_not_found_on_disk():
    options = parse(["mutants", "no-such-file", "-j", "2", "--json", "x.json"])
    assert (options.paths, options.full, options.jobs) == (["no-such-file"], False, 2)
    assert parse(["mutants", "--full"]).full
    assert parse(["mutants", "--survivors"]).survivors


def test_cards_are_named_not_found_on_disk():
    options = parse(["nic", "no-such-file", "--probe", "--i-know", "--json", "x.json"])
    assert (options.command, options.paths) == ("nic", ["no-such-file"])
    assert (options.nic.probe, options.nic.i_know, options.nic.restore) == (True, True, False)
    assert needed(options) == needed(parse(["contract"]))
    assert parse(["nic", "x"]).reads
    assert not parse(["nic", "--card", "veth"]).reads


def test_paths_may_follow_options(tmp_path: Path):
    (tmp_path / "test_x.py").touch()
    test = f"{tmp_path}/test_x.py::test_y"
    assert parse(["-k", "word", test]).paths == [test]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--profile", "fast"], "invalid choice: 'fast'"),
        (["--wat"], "unrecognized arguments: --wat"),
        (["--seed", "x"], "invalid int value"),
        (["--bisect"], "unrecognized arguments: --bisect"),
        *((["--timeout", word], "invalid deadline value") for word in ("inf", "nan", "-1", "0")),
        (["--tree", "/", "--kernel", "/x"], "exclude each other"),
        (["--host", "--tree", "/"], "exclude each other"),
        (["--debian", "6.1", "--kernel", "/x"], "exclude each other"),
        (["--debian", "6.1", "build"], "built here"),
        (["--dump"], "go with 'demo'"),
        (["mutants", "reg-x", "--full"], "the whole catalogue"),
        (["mutants", "--generic", "4", "--full"], "the whole catalogue"),
        (["demo", "README.md"], "takes no tests"),
        (["bench", "README.md"], "takes no tests"),
        (["--rounds", "2"], "go with 'bench'"),
        (["bench", "--rounds", "0"], "invalid count value: '0'"),
        (["bench", "--sizes", "1K,x"], "invalid sizes value: '1K,x'"),
        (["bench", "--sizes", "2M"], "--sizes: from 1 to 1048576"),
        (["bench", "--flows", "99"], "--flows: from 1 to 16"),
        (["bench", "--mtus", "1500,100"], "--mtus: from 1280 to 65535"),
        (["bench", "--tso", "on,maybe"], "invalid switched value: 'on,maybe'"),
        (["--tso", "on"], "go with 'bench'"),
        (["bench", "-k", "x"], "-k is of tests; 'bench' runs none"),
        (["bench", "--seed", "0"], "--seed is of tests"),
        (["bench", "--timeout", "5"], "--timeout is of tests"),
        (["bench", "--only", "README.md"], "--only is of tests"),
        (["bench", "-j", "1"], "-j is of tests"),
        (["demo", "-m", ""], "-m is of tests; 'demo' runs none"),
        (["bench", "--profile", "debug", "--kmemleak"], "--kmemleak is of tests"),
        (["bench", "--loop", "--rounds", "2"], "no --rounds"),
        (["bench", "--loop", "--json", "x"], "prints its profile"),
        (["bench", "--events", "x"], "does not go with 'bench'"),
        (["demo", "--bytes", "1T"], "invalid size value: '1T'"),
        (["demo", "--bytes", "0"], "invalid size value: '0'"),
        (["--debian", "6.1", "--coverage"], "needs a kernel that is built here"),
        (["--modules", "/x"], "--modules goes with --kernel"),
        (["--apply-series"], "goes with --tree"),
        (["build", "--host"], "does not go with 'build'"),
        (["no/such/test.py"], "no such test file"),
        (["--json", "x.json"], "goes with 'contract', 'bench', 'mutants' and 'nic'"),
        (["contract", "--json", "/none/x.json"], "no such directory: /none"),
        (["--coverage", "--profile", "plain"], "needs the profile cover, not plain"),
        (["--coverage", "--kernel", "/x"], "needs a kernel that is built here"),
        (["--coverage", "selftests/zctap/test_x.py::test_y"], "not a directory"),
        (["--coverage", str(ROOT)], "has tests in it"),
        (["--kmemleak"], "goes with --profile debug"),
        (["contract", "--coverage"], "does not go with 'contract'"),
        (["contract", "--html", "x"], "--html does not go with 'contract'"),
        (["timing", "--junit", "x"], "--junit does not go with 'timing'"),
        (["--junit", "/none/x.xml"], "no such directory: /none"),
        (["--html", "/etc"], "a directory, not a file: /etc"),
        (["--html", "x", "--events", "./x"], "two reports cannot be one file"),
        (["compare"], "takes two files"),
        (["compare", "/dev/null"], "takes two files"),
        (["compare", "/dev/null", "/none"], "no such file: /none"),
        (["compare", "--host", "/dev/null", "/dev/null"], "does not go with 'compare'"),
        (["--full"], "go with 'mutants'"),
        (["--generic", "3"], "go with 'mutants'"),
        (["mutants", "--generic", "0"], "one at least"),
        (["mutants", "--generic", "3", "an-id"], "takes no ids"),
        (["contract", "--survivors"], "go with 'mutants'"),
        (["mutants", "--profile", "debug"], "a profile of its own"),
        (["mutants", "--tree", "/"], "a kernel of its own"),
        (["mutants", "-k", "x"], "takes ids of mutants"),
        (["mutants", "--host"], "does not go with 'mutants'"),
        (["mutants", "--html", "x"], "--html does not go with 'mutants'"),
        (["--probe"], "--probe does not go with 'run'"),
        (["build", "--card", "veth"], "--card does not go with 'build'"),
        (["demo", "--host", "--nic", "eth0", "--force"], "--force does not go with 'demo'"),
        (["demo", "--nic", "eth0"], "a card of this machine: with --host"),
        (["demo", "--dump", "15"], "invalid choice"),
        (["--nic", "eth0"], "a card of this machine: with --host"),
        (["--remote", "root@peer"], "a card of this machine: with --host"),
        (["--host", "--card", "veth"], "--card is for guests"),
        (["--card", "e1000"], "invalid choice"),
        (["--force"], "--force goes with a card"),
        (["nic", "eth0", "--nic", "eth0"], "without --nic"),
        (["nic", "eth0", "eth1"], "takes one interface"),
        (["nic", "eth0", "--card", "veth"], "takes one interface, or --card"),
        (["nic", "--card", "veth", "--restore"], "nothing is kept of a guest"),
        (["nic", "eth0", "--tree", "/"], "this machine's kernel"),
        (["nic", "eth0", "--host"], "does not go with 'nic'"),
        (["nic", "eth0", "-k", "x"], "runs no tests"),
        (["nic", "eth0", "--force"], "go with --restore"),
        (["nic", "eth0", "--restore", "--force", "--forget"], "exclude each other"),
        (["nic", "eth0", "--restore", "--json", "x"], "goes without"),
        (["nic", "eth0", "--markdown", "x"], "goes with 'contract' and 'mutants'"),
    ],
)
def test_what_makes_no_sense_is_said(argv: list[str], said: str):
    with pytest.raises(Trouble, match=said):
        parse(argv)


def run_tests(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "run_tests.py"), *argv],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--kernel", "/etc/passwd"], "not an x86 kernel image"),
        (["--kernel", "/none"], "No such file"),
        (["--tree", "/none"], "no such directory"),
        (["--tree", "/etc"], "not a kernel source tree"),
        (["--tree", "x" * 300], "File name too long"),
        (["--tree", "/none/\udcff"], "no such directory"),
        (["nic", "\udcff"], "no interface "),
        (["--profile", "fast"], "invalid choice"),
        (["none.py"], "no such test file"),
        (["--html", "/proc/x.html"], "cannot write /proc/x.html"),
        (["--junit", "/proc/version"], "cannot write /proc/version"),
        (["--events", "/sys/x"], "cannot write /sys/x"),
        (["bench", "--json", "/proc/x.json"], "cannot write /proc/x.json"),
        (["compare", "/etc", "/etc"], "cannot read /etc: Is a directory"),
        (["compare", "/etc/passwd", "/etc/passwd"], "no run in it"),
        (["compare", "/dev/null", "/dev/null"], "no run in it"),
        (["mutants", "none"], "no such mutant: none"),
        (["nic", "none"], "no interface 'none' here; there are "),
        (["nic", "a/b"], "no name of an interface: 'a/b'"),
        (["nic", "lo", "--json", "/proc/x.json"], "cannot write /proc/x.json"),
        (["mutants", "--json", "/proc/x.json"], "cannot write /proc/x.json"),
    ],
)
def test_bad_input_is_one_line_and_status_2(argv: list[str], said: str):
    done = run_tests(*argv)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("run_tests.py: ")
    assert said in done.stderr


@pytest.mark.parametrize(
    ("asked", "accel", "when"),
    [
        ("", "kvm", ""),
        ("auto", "kvm", "module"),
        ("auto", "tcg", ""),
        ("end", "kvm", "module"),
        ("end", "tcg", "end"),
        ("module", "tcg", "module"),
    ],
)
def test_when_to_look_for_leaks(asked: str, accel: str, when: str):
    assert in_guest._kmemleak(Options(kmemleak=asked), accel) == when


def test_bisecting_takes_what_cannot_be_judged_for_that():
    for argv in (["--tree", "/nonexistent"], ["--nonsense"], ["--profile", "odd"]):
        assert run_tests("--bisect-run", *argv).returncode == 125


def test_a_full_disk_under_the_log_is_no_verdict():
    for argv, status in (["--nonsense"], 2), (["--nonsense", "--bisect-run"], 125):
        with open("/dev/full", "w") as full:
            command = [sys.executable, str(ROOT / "run_tests.py"), *argv]
            done = subprocess.run(command, stdout=full, stderr=full, check=False)
        assert done.returncode == status


def test_a_bug_of_ours_is_no_verdict(tmp_path: Path):
    script = (
        "import sys, run_tests; run_tests.check_machine = lambda options: 1 / 0;"
        "sys.exit(run_tests.main(sys.argv[1:]))"
    )
    for argv, status in ([], 2), (["--bisect-run"], 125):
        done = subprocess.run(
            [sys.executable, "-c", script, *argv],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
        )
        assert done.returncode == status
        assert len(done.stderr.splitlines()) == 1
        assert "ZeroDivisionError" in done.stderr
        assert "Traceback" in next((tmp_path / "zctap-selftests" / "log").iterdir()).read_text()


def test_no_install_lists_what_is_missing(tmp_path: Path):
    # Nothing in PATH, and no virtual environment in that cache.
    done = subprocess.run(
        ["/usr/bin/python3", str(ROOT / "run_tests.py"), "--no-install"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)},
    )
    assert done.returncode == 2
    assert "Python packages missing: pytest==" in done.stderr
    assert not any(tmp_path.rglob("venv"))


def test_host_mode_needs_root(tmp_path: Path):
    if os.geteuid() == 0:
        pytest.skip("runs as root")
    done = run_tests("--host")
    assert done.returncode == 2
    assert "needs root" in done.stderr


def test_comparing_takes_neither_root_nor_a_guest(tmp_path: Path):
    for name, outcome in (("old", "passed"), ("new", "failed")):
        lines = [
            '{"ev": "session", "session": "guest-1", "tests": ["m.py::a"], "seed": 7}',
            f'{{"ev": "result", "session": "guest-1", "id": "m.py::a", "outcome": "{outcome}"}}',
        ]
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    assert needed(parse(["compare", f"{tmp_path}/old", f"{tmp_path}/new"])) == []
    worse = run_tests("compare", f"{tmp_path}/old", f"{tmp_path}/new")
    assert (worse.returncode, worse.stderr) == (1, "")
    assert "newly failing (1):\n  m.py::a: passed -> failed\n" in worse.stdout
    better = run_tests("compare", f"{tmp_path}/new", f"{tmp_path}/old")
    assert better.returncode == 0
    assert "fixed (1):" in better.stdout


@pytest.mark.parametrize(("text", "size"), [("4096", 4096), ("64K", 1 << 16), ("10g", 10 << 30)])
def test_sizes_have_units(text: str, size: int):
    assert parse(["demo", "--bytes", text]).bytes == size
