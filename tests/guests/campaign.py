#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Many runs, each with a failure injected at a random moment: are all verdicts right?

Usage: tests/guests/campaign.py [RUNS [SEED [KIND...]]], in the runner's virtual environment. Each
run is of a few modules of the suite, in real guests; kinds of failure take turns, and one that is
waited for (silent: minutes, under emulation) may have a campaign of its own beside that of the
others. A line a run; exit status 0 if all were as they must be:
the failure has its word, at most one test bears it, each test has one verdict and no other is bad,
and neither guest nor file is left.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lib.deadline import wait_until
from lib.report.model import LOST
from lib.vm import cache
from tests.guests.conftest import ROOT, Outcome, Running

SUBSET = [f"selftests/zctap/{name}.py" for name in ("test_copy", "test_counters", "test_fill")]
# From the guest's inside: a test of its own leaves a process behind that strikes later, at whatever
# test runs by then. {pid} is pytest's.
INSIDE = {
    "panic": "Path('/sys/kernel/debug/provoke-crash/DIRECT').write_text('PANIC')",
    "oops": "Path('/sys/kernel/debug/provoke-crash/DIRECT').write_text('EXCEPTION')",
    "lockup": "Path('/sys/kernel/debug/provoke-crash/DIRECT').write_text('{soft or hard}LOCKUP')",
    # Most of it for hugetlb, at once: page by page it takes longer than the run.
    "oom": "Path('/proc/self/oom_score_adj').write_text('-1000');"
    " Path('/proc/sys/vm/nr_hugepages').write_text('999'); [b'x' * 9**8 for _ in range(99)]",
    "timeout": "os.kill({pid}, signal.SIGSTOP)",
    "crashed": "os.kill({pid}, signal.SIGSEGV)",
}
# From the outside: at the guest, or at the runner.
OUTSIDE = {"qemu": signal.SIGKILL, "silent": signal.SIGSTOP}
RUNNER = {"interrupted": signal.SIGINT, "killed": signal.SIGKILL}
PLANT = """
import os, subprocess, sys
from pathlib import Path

STRIKE = '''
import os, signal, time
from pathlib import Path
time.sleep({delay})
{harm}
'''

def test_plant():
    Path('/proc/sys/kernel/watchdog_thresh').write_text('1')
    strike = STRIKE.replace('PID', str(os.getpid()))
    subprocess.Popen([sys.executable, '-c', strike], start_new_session=True)
"""


def judge(kind: str, run: Running, found: Outcome, modules: dict[str, str]) -> list[str]:
    """Return what is wrong with a run that has ended; modules: test -> its module, of all."""
    wrong = []
    with contextlib.suppress(TimeoutError):
        # The kernel ends them with the runner, which takes it a moment.
        wait_until(lambda: not run.guests(), "guests", 2)
    if left := run.guests():
        wrong.append(f"guests left: {left}")
    for path in cache.folder("tmp").iterdir():
        if path.name.startswith(f"{run.process.pid}-") and kind != "killed":
            wrong.append(f"left behind: {path}")
    if kind == "killed":
        return wrong
    verdicts = found.verdicts
    bad = {test: word for test, word in verdicts.items() if word not in ("ok", "skip")}
    rest = {test: word for test, word in bad.items() if word != kind}
    if kind == "interrupted":
        rest = {test: word for test, word in rest.items() if word != "not"}
    if rest:
        wrong.append(f"wrong words: {rest}")
    if len(bad) - len(rest) > 1 and kind != "interrupted":
        wrong.append(f"more than one test bears it: {bad}")
    # Interrupted before its tests were known a module has the verdict.
    if lost := [test for test in modules if not {test, modules[test]} & verdicts.keys()]:
        wrong.append(f"no verdict: {lost}")
    expected = 130 if kind == "interrupted" else int(bool(bad))
    if found.status != expected:
        wrong.append(f"exit status {found.status}, not {expected}")
    if "Traceback" in found.said:
        wrong.append("a traceback")
    return wrong


def strike(kind: str, rng: random.Random, folder: Path) -> tuple[Running, Outcome]:
    """Start a run, let the failure happen, wait for the end."""
    harm = INSIDE.get(kind, "pass").replace("{pid}", "PID")
    harm = harm.replace("{soft or hard}", rng.choice(("SOFT", "HARD")))
    text = PLANT.replace("{delay}", f"{rng.uniform(0, 2):.2f}").replace("{harm}", harm)
    paths = [str(ROOT / name) for name in SUBSET]
    run = Running(folder, text, "--timeout", "10", "-j", str(rng.choice((1, 2))), *paths)
    if kind in OUTSIDE or kind in RUNNER:
        time.sleep(rng.uniform(1, 12))
        for pid in run.guests()[:1] if kind in OUTSIDE else [run.process.pid]:
            with contextlib.suppress(ProcessLookupError):  # it was done by then
                os.kill(pid, OUTSIDE.get(kind) or RUNNER[kind])
    return run, run.finish()


def main(argv: list[str]) -> int:
    """Run the campaign; return the exit status."""
    runs = int(argv[0]) if argv else 120
    seed = int(argv[1]) if argv[1:] else random.getrandbits(31)
    rng = random.Random(seed)
    kinds = argv[2:] or [*INSIDE, *OUTSIDE, *RUNNER]
    assert set(kinds) - {"killed"} <= set(LOST)
    print(f"seed {seed}", flush=True)
    hit, bad, modules = Counter[str](), 0, dict[str, str]()
    for number in range(runs + 1):
        kind = kinds[number % len(kinds)] if number else "none"
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            run, found = strike(kind, rng, Path(folder))
        wrong = judge(kind, run, found, modules)
        modules = modules or found.modules
        hit[kind] += kind in found.verdicts.values() or kind in RUNNER
        bad += bool(wrong)
        seconds = time.monotonic() - started
        print(
            f"{number} {kind}: {'; '.join(wrong) or 'as it must be'} ({seconds:.0f} s)", flush=True
        )
    print(f"{bad} of {runs} wrong; struck: {dict(hit)}")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
