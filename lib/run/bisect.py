# SPDX-License-Identifier: GPL-2.0
"""`bisect`: find the commit of a kernel tree since which tests fail."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from lib.bisect import repository
from lib.bisect.repository import Clone, Progress
from lib.bisect.state import State, Step, load
from lib.report.model import GOOD, NOT_THE_KERNEL, replay
from lib.run import ending
from lib.run.options import Options
from lib.run.suite import ROOT
from lib.say import say
from lib.trouble import Trouble
from lib.vm import cache
from lib.vm.command import mortal

_WORDS = {0: "good", 1: "bad", 125: "skip"}


def run(options: Options) -> int:
    """Bisect; return 0 if the commit was found, 2 if only skipped ones are left. Raises Trouble."""
    assert options.tree and options.good and options.bad
    origin = options.tree.resolve()
    good = repository.resolve(origin, options.good)
    bad = repository.resolve(origin, options.bad)
    if not repository.is_ancestor(origin, good, bad):
        raise Trouble(f"--good {options.good} is not in the history of --bad {options.bad}")
    # One clone for all bisections of a tree: what one has built serves the next.
    home = cache.folder("bisect", cache.key_of(str(origin)))
    folder = home / cache.key_of(good, bad, *_selection(options))
    folder.mkdir(exist_ok=True)
    with cache.lock(f"bisect-{home.name}") as held:
        return Bisection(options, folder, Clone(home / "tree", origin), good, bad, held).run()


def _selection(options: Options) -> list[str]:
    """Return the options that say what is tested, and how."""
    words = ["--profile", options.profile]
    for flag, value in (("-k", options.keyword), ("-m", options.markers)):
        words += [flag, value] if value is not None else []
    if options.timeout is not None:
        words += ["--timeout", str(options.timeout)]
    for flag, number in (("--seed", options.seed), ("-j", options.jobs)):
        words += [flag, str(number)] if number is not None else []
    if options.kmemleak not in ("", "auto"):
        words += [f"--kmemleak={options.kmemleak}"]
    words += ["--apply-series"] if options.apply_series else []
    words += [] if options.snapshot else ["--no-snapshot"]
    return [*words, *options.paths]


class Bisection:
    """A bisection and its folder in the cache: state, the logs of its steps.

    held: the lock on the clone, which whoever works there holds, too.
    """

    def __init__(
        self, options: Options, folder: Path, clone: Clone, good: str, bad: str, held: int
    ) -> None:
        self._options = options
        self._folder = folder
        self._clone = clone
        self._held = held
        self._path = folder / "state.json"
        self._state = load(self._path) or State(good, bad)

    def run(self) -> int:
        """Bisect, from the start or from where it was interrupted. Raises Trouble."""
        if self._state.steps or self._state.failing is not None:
            say(f"bisect: going on where it was interrupted ({self._folder})")
        self._check_ends()
        # Whatever git was told before, perhaps by a bisection between other ends.
        self._clone.reset()
        found = self._clone.start(self._state.good, self._state.bad)
        for step in self._state.steps:
            if step.commit not in (self._state.good, self._state.bad):
                found = self._clone.mark(step.word, step.commit)
        while not found.over:
            commit = self._clone.head()
            word, _ = self._judge(commit)
            found = self._clone.mark(word)
            if not found.over:
                say(f"bisect: roughly {found.steps_left} steps left")
        return self._report(found)

    def _check_ends(self) -> None:
        """Make sure that `bad` is bad, and of what fails there; and that `good` is good."""
        state = self._state
        if state.failing is None:
            word, failing = self._judge(state.bad, check_out=True)
            if word != "bad":
                raise Trouble(f"--bad {self._options.bad} is not: {state.steps[-1].why}")
            state.failing = failing
            state.store(self._path)
        say(f"bisect: {len(state.failing)} tests fail: {' '.join(state.failing[:5])}")
        if not state.good_is_good:
            word, _ = self._judge(state.good, check_out=True)
            if word != "good":
                raise Trouble(f"--good {self._options.good} is not: {state.steps[-1].why}")
            state.good_is_good = True
            state.store(self._path)

    def _judge(self, commit: str, *, check_out: bool = False) -> tuple[str, list[str]]:
        """Build and test a commit; return the verdict and the tests that fail. Raises Trouble."""
        if check_out:
            self._clone.check_out(commit)
        started = time.monotonic()
        number = len(self._state.steps)
        log = self._folder / f"{number:02}-{commit[:12]}"
        for _ in range(self._options.repeat):
            status = self._test(log)
            if status != 0:
                break
        word = _WORDS.get(status)
        if word is None:
            raise KeyboardInterrupt if status == 130 else Trouble(f"no verdict: see {log}.log")
        why = _last_line(log.with_suffix(".log"))
        if word == "skip":
            # Not the commit's fault: all the others would be skipped for it, too.
            if why.startswith(ending.BUG):
                raise Trouble(f"{why}; once it is mended the same command goes on")
            cache.need_space(self._folder, cache.GIB, "bisecting")
        step = Step(commit, self._clone.title(commit), word, why, time.monotonic() - started)
        self._state.steps.append(step)
        self._state.store(self._path)
        print(f"{number}: {word}: {step.title} ({step.seconds:.0f} s; {why})", flush=True)
        return word, _failing(log.with_suffix(".events"))

    def _test(self, log: Path) -> int:
        """Run the suite on the tree; return the exit status."""
        # It ends with us, and until it has nobody changes the clone under it.
        words = [*mortal("TERM"), sys.executable, str(ROOT / "run_tests.py")]
        words += ["--tree", str(self._clone.path)]
        words += ["--bisect-run", "--events", str(log.with_suffix(".events"))]
        words += _selection(self._options)
        if self._state.failing:
            only = self._folder / "failing"
            only.write_text("\n".join(self._state.failing))
            words += ["--only", str(only)]
        with (
            log.with_suffix(".ktap").open("w") as ktap,
            log.with_suffix(".log").open("w") as said,
            subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=ktap,
                stderr=said,
                pass_fds=(self._held,),
            ) as process,
        ):
            try:
                return process.wait()
            except KeyboardInterrupt:
                process.terminate()
                raise

    def _report(self, found: Progress) -> int:
        """Say what was found; leave the log that `git bisect replay` takes."""
        log = self._folder / "bisect.log"
        log.write_text(self._clone.log())
        if found.first_bad:
            print(self._clone.show(found.first_bad), end="")
            print(f"first bad commit: {self._clone.title(found.first_bad)}")
        else:
            print("the first bad commit is one of these; the others cannot be judged:")
            for commit in found.candidates:
                print(f"  {self._clone.title(commit)}")
        print(f"steps: {self._folder}; to replay: git bisect replay {log}")
        # The next such command is a new bisection: the kernel may have been another's fault.
        self._clone.reset()
        self._path.unlink()
        return 0 if found.first_bad else 2


def _failing(events: Path) -> list[str]:
    """Return the tests that failed, or were lost with their guest.

    If there are such, without those that the kernel had no part in: they were not run.
    """
    run = replay(events.read_bytes().splitlines() if events.is_file() else [])
    bad = [test for test, found in run.results.items() if found.outcome not in (*GOOD, "skipped")]
    failed = [test for test in bad if run.results[test].outcome not in NOT_THE_KERNEL]
    return [test for test in failed or [*bad, *run.pending()] if "::" in test]


def _last_line(log: Path) -> str:
    """Return the last thing that was said."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("run_tests.py: ") if lines else "nothing was said"
