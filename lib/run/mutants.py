# SPDX-License-Identifier: GPL-2.0
"""`mutants`: run the suite against kernels that are wrong, and say which of them it notices."""

from __future__ import annotations

import io
import itertools
import json
import tarfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from lib.mutants import baseline, catalogue, order, sample, score
from lib.mutants.catalogue import Mutant
from lib.mutants.idle import Idle
from lib.mutants.log import Attempt, Kill, Log, Suite
from lib.mutants.order import Test
from lib.mutants.score import Row, Score
from lib.mutants.source import with_mutants
from lib.report import contract, verdicts
from lib.report.gist import gist
from lib.report.ktap import clean
from lib.report.model import LOST, module_of
from lib.run import known, shares, suite
from lib.run.bytecode import Bytecode
from lib.run.mutant_guest import Bench, Trial
from lib.run.mutant_sample import generic
from lib.run.options import Options
from lib.run.together import together
from lib.say import say
from lib.trouble import Trouble
from lib.vm import cache, kbuild, machine, source
from lib.vm.guest import Guest, is_warm

_MODULES = "selftests/zctap/test_"


def run(options: Options) -> int:
    """Run what has not been run; return 0 if no mutant has survived, else 1. Raises Trouble."""
    known_ones = catalogue.load()
    _check_contract(known_ones)
    chosen = catalogue.select(known_ones, options.paths)
    folder = cache.folder("mutants")
    with cache.lock("mutants"):
        mutants = known_ones
        if options.generic:
            chosen = generic(options, known_ones, folder)
            # With headers as they were for the catalogue, two thousand objects are not built again.
            mutants = [*filter(_in_a_header, known_ones), *chosen]
        promises = {mutant.id: mutant.contract for mutant in known_ones}
        campaign = Campaign(options, mutants, chosen, promises, folder)
        if not options.survivors:
            campaign.run()
        return campaign.report()


def _in_a_header(mutant: Mutant) -> bool:
    return any(change.file.endswith(".h") for change in mutant.changes)


def _check_contract(mutants: Sequence[Mutant]) -> None:
    """Raise Trouble for promises that nobody has made."""
    ids = {clause.id for clause in contract.clauses(known.DOCUMENT.read_text())}
    for mutant in mutants:
        if unknown := [clause for clause in mutant.contract if clause not in ids]:
            raise Trouble(f"{mutant.id}: not in docs/contract.md: {', '.join(unknown)}")


def suite_now() -> Suite:
    """Return what the tests are at this moment."""
    shared: list[str | bytes] = []
    modules: dict[str, str] = {}
    with tarfile.open(fileobj=io.BytesIO(suite.archive({}, Bytecode("")))) as archive:
        for member in archive:
            file = archive.extractfile(member)
            content = file.read() if file else b""
            if member.name.startswith(_MODULES):
                modules[member.name] = verdicts.source_hash(content)
            else:
                shared += [member.name, content]
    return Suite(cache.key_of(*shared), modules)


@dataclass
class Campaign:
    """Some mutants, the suite as it is, and the log."""

    options: Options
    mutants: list[Mutant]
    chosen: list[Mutant]
    promises: dict[str, tuple[str, ...]]  # of the catalogue: mutant -> what it breaks
    folder: Path
    tests: dict[str, Test] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._reference = source.debian()
        self._suite = suite_now()
        self._log = Log(self.folder / "log.jsonl")
        self._lock = threading.Lock()
        bases = {name: kbuild.built_key(self._reference, name) for name in catalogue.KERNELS}
        self._keys = {
            mutant.id: cache.key_of(bases[mutant.profile] or "", mutant.content)
            for mutant in self.mutants
        }

    def _rows(self) -> list[Row]:
        latest = self._log.latest(self._keys, self._suite)
        return [Row(mutant, latest.get(mutant.id)) for mutant in self.chosen]

    def run(self) -> None:
        """Run the mutants that are not known to be killed, or to survive. Raises Trouble."""
        built = with_mutants(self._reference, self.mutants)
        for profile in dict.fromkeys(mutant.profile for mutant in self.chosen):
            kernel = kbuild.kernel_for(built, profile)
            say(f"kernel: {'cached' if kernel.cached else 'new'} {profile} {kernel.version}")
            bench = Bench(self.options, kernel)
            jobs = self.options.jobs or machine.room_for(bench.machine)
            tests = self._baseline(bench, jobs)
            self.tests |= tests
            if self.options.full:
                self._busy_all(bench, tests, jobs)
            self._judge_all(bench, tests, jobs)

    def _baseline(self, bench: Bench, jobs: int) -> dict[str, Test]:
        """Return the tests, all of which must be good without a mutant. Raises Trouble."""
        path = self.folder / f"baseline-{bench.kernel.key}.json"
        if found := baseline.load(path, self._suite):
            return found
        say("mutants: the suite on the kernel without a mutant")
        if not is_warm(bench.machine):
            with Guest(bench.machine) as guest:
                say(f"guest: {guest.origin} in {guest.seconds:.1f} s")
        durations = known.durations(bench.kernel.key, bench.kernel.profile)
        sizes = {name: (suite.ROOT / name).stat().st_size for name in self._suite.modules}
        deadline = bench.deadline({})
        trials: list[Trial] = []
        split = shares.split(shares.weights(sizes, durations), jobs)

        def look(share: list[str]) -> None:
            trials.append(bench.run(0, [share], deadline, full=True))

        together([partial(look, share) for share in split], jobs)
        bad = [result for trial in trials for result in trial.bad]
        if bad:
            for result in bad:
                say(f"{result.outcome}: {clean(result.id)}: {clean(' '.join(gist(result, 1)))}")
            raise Trouble(f"without a mutant {len(bad)} tests are not good: no baseline")
        found = baseline.of_trials([(trial.results, trial.contract) for trial in trials])
        if not found:
            raise Trouble("without a mutant no test has run: no baseline")
        baseline.store(path, self._suite, found)
        bench.pack()
        return found

    def _judge_all(self, bench: Bench, tests: dict[str, Test], jobs: int) -> None:
        """Run mutants, several at once: first all of them with the tests that are likely to
        notice, then with all others those that lived. Raises Trouble.
        """
        deadline = bench.deadline({name: test.duration for name, test in tests.items()})
        for last in (False, True):
            todo = self._todo(bench.kernel.profile, so_far=last)
            left = itertools.count(len(todo) - 1, -1)

            def judge(mutant: Mutant, last: bool = last, left: Iterator[int] = left) -> None:
                stages, others = self._stages(mutant, tests)
                if last:
                    stages = [others]
                trial = bench.run(mutant.number, stages, deadline, full=False)
                attempt = self._attempt(mutant, trial, so_far=not last)
                with self._lock:
                    self._log.add(attempt)
                    line = score.table([Row(mutant, attempt)])[0]
                    print(f"{clean(line)}  [{next(left)} left]", flush=True)

            say(f"mutants: {len(todo)} to run, {len(tests)} tests, guests: {jobs}")
            together([partial(judge, mutant) for mutant in todo], jobs)

    def _busy_all(self, bench: Bench, tests: dict[str, Test], jobs: int) -> None:
        """Have each test meet mutants until it has killed one. Raises Trouble."""
        profile = bench.kernel.profile
        idle = self._idle([one for one in self.mutants if one.profile == profile], tests)
        deadline = bench.deadline({name: test.duration for name, test in tests.items()})
        by_id = {mutant.id: mutant for mutant in self.mutants}
        back = threading.Condition(self._lock)

        def sent() -> tuple[str, list[str]] | None:
            with back:
                while not (found := idle.send()) and idle.busy:
                    back.wait()
                return found

        def work() -> None:
            while found := sent():
                mutant, names = by_id[found[0]], found[1]
                trial = None
                try:
                    trial = bench.run(mutant.number, [names], deadline, full=True, guests=1)
                finally:  # whoever waits for those who are out must not wait for ever
                    with back:
                        if trial:
                            self._take(idle, self._attempt(mutant, trial, full=names))
                        idle.back(mutant.id, whole=bool(trial and not trial.lost))
                        back.notify_all()

        say(f"mutants: {len(idle.open)} tests that have killed none yet, guests: {jobs}")
        together([work] * jobs, jobs)

    def _take(self, idle: Idle, attempt: Attempt) -> None:
        """Keep what tests made of a mutant that they met to be judged themselves."""
        self._log.add(attempt)
        noticed = [kill.test for kill in attempt.kills]
        idle.saw(attempt.mutant, killed=noticed, met=attempt.met)
        line = f"{attempt.mutant}: {len(noticed)} of {attempt.ran} notice"
        print(f"{clean(line)}  [{len(idle.open)} tests left]", flush=True)

    def _idle(self, mutants: Sequence[Mutant], tests: dict[str, Test]) -> Idle:
        """Return what is known, of a number of mutants, of which tests notice none."""
        latest = self._log.latest(self._keys, self._suite)
        rough = [one.mutant for one in self._log.attempts if one.kills and one.kills[0].how in LOST]
        found = Idle(mutants, tests, set(rough))
        for attempt in latest.values():
            killers = [kill.test for kill in attempt.kills]
            found.saw(attempt.mutant, killed=killers, met=attempt.met)
        return found

    def _todo(self, profile: str, *, so_far: bool) -> list[Mutant]:
        """Return the mutants that nothing is known of; with `so_far` also what has lived so far."""
        states = ("not run", "so far") if so_far else ("not run",)
        rows = [row for row in self._rows() if row.state in states]
        return [row.mutant for row in rows if row.mutant.profile == profile]

    def _stages(self, mutant: Mutant, tests: dict[str, Test]) -> tuple[list[list[str]], list[str]]:
        with self._lock:
            learned = self._log.learned()
        return order.stages(mutant, tests, learned, learned.kills_of(self.promises))

    def _attempt(
        self, mutant: Mutant, trial: Trial, *, so_far: bool = False, full: Sequence[str] = ()
    ) -> Attempt:
        """Return what a trial has shown; `full` are the tests of one that no failure ends."""
        kills = [
            Kill(result.id, result.outcome, " ".join(gist(result, 1))[:200], after=number > 0)
            for number, result in enumerate(trial.bad)
        ]
        # Who was to run after the guest was lost has not.
        noticed = {kill.test for kill in kills}
        ran = trial.results if trial.lost else full
        modules = self._suite.modules
        if kills and not full:
            killer = module_of(kills[0].test)
            modules = {killer: modules.get(killer, "")}
        return Attempt(
            mutant=mutant.id,
            key=self._keys[mutant.id],
            shared=self._suite.shared,
            modules=modules,
            seconds=round(trial.seconds, 1),
            ran=len(trial.results),
            so_far=so_far and not kills,
            kills=kills,
            apart=bool(full),
            met=[name for name in ran if name not in noticed] if full else [],
        )

    def report(self) -> int:
        """Print the table and the score, write the files; return the exit status."""
        if not self.tests:
            self.tests = baseline.latest(self.folder)
        found = Score(self._rows(), self.tests)
        if self.options.full:
            idle = self._idle(self.mutants, self.tests)
            # Sorted, as the baseline's order is random: two runs that find the same say the same.
            found = replace(found, idle=sorted(idle.idle), unasked=sorted(idle.unasked))
        rows = found.survivors if self.options.survivors else found.rows
        for line in score.table(rows):
            print(clean(line))
        print(found.summary)
        if self.options.generic:
            low, high = sample.interval(found.count("killed"), len(found.rows))
            print(f"of all such mutants {100 * low:.0f} to {100 * high:.0f} % (95 % confidence)")
        if found.uncredited():
            print(f"no kill counts for: {' '.join(found.uncredited())}")
        if found.idle:
            print(f"{len(found.idle)} tests kill no mutant that they should notice:")
            for test in found.idle:
                print(f"  {score.short(test)}")
        if found.unasked:
            print(f"{len(found.unasked)} tests show no promise that a mutant breaks")
        try:
            if self.options.json:
                self.options.json.write_text(json.dumps(score.to_json(found), indent=1) + "\n")
            if self.options.markdown:
                self.options.markdown.write_text(score.to_markdown(found))
        except OSError as err:
            raise Trouble(f"cannot write {err.filename}: {err.strerror}") from err
        return 1 if found.survivors else 0
