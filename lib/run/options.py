# SPDX-License-Identifier: GPL-2.0
"""The command line. Standard library only: this runs before anything is installed."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from lib.bench.case import refused, switched
from lib.run import mutant_options, nic_options
from lib.run.amounts import count, counts, size, sizes
from lib.run.nic_options import Nic
from lib.trouble import Trouble
from lib.vm import cache

COMMANDS = {
    "run": "run the suite (what you get without a command)",
    "demo": "receive a stream without copying it, and say at each step what happens",
    "bench": "measure ways to receive against each other, in one run",
    "build": "build the kernel and the guest image, and stop there",
    "self": "check the project itself: ruff, mypy, unit tests, then the suite in the VM",
    "contract": "run nothing; say which promises the last verdicts show, and which none",
    "bisect": "find the commit of --tree, between --good and --bad, since which tests fail",
    "mutants": "run the suite against kernels that are wrong, and say which of them it notices",
    "timing": "run the suite, and say what it takes and where the time goes",
    "nic": "run nothing; say what a network card can do for the suite, and what it lacks",
    "compare": "run nothing; say what has changed from one run to another, by two --events files",
}
# They run no test.
_READERS = ("contract", "compare", "nic")
PROFILES = ("plain", "cover", "debug")
_DEFAULT = Path()


@dataclass(frozen=True)
class Options:
    """What was asked for."""

    command: str = "run"
    profile: str = "plain"
    tree: Path | None = None
    apply_series: bool = False
    kernel: Path | None = None
    modules: Path | None = None
    debian: str | None = None
    host: bool = False
    # demo: the length of the stream (0: its default), and how many frames to show one by one.
    bytes: int = 0
    dump: int = 0
    # bench: measurements of each (0: as many as usual), bytes a write, connections, bytes a packet,
    # frames of up to 64 KiB or not ((): the usual ones), or a profile of the loop.
    rounds: int = 0
    sizes: tuple[int, ...] = ()
    flows: tuple[int, ...] = ()
    mtus: tuple[int, ...] = ()
    tso: tuple[bool, ...] = ()
    loop: bool = False
    install: bool = True
    snapshot: bool = True
    keyword: str | None = None
    markers: str | None = None
    seed: int | None = None
    timeout: float | None = None
    # How many guests at once; None: as many as there are processors and memory for.
    jobs: int | None = None
    # When the kernel looks for memory that has leaked: at the "end", after each "module", never
    # (""), or after each module if that is quick ("auto").
    kmemleak: str = ""
    # Where to write coverage; None: there is none to be measured.
    coverage: Path | None = None
    # The exit status is for `git bisect run`.
    bisect_run: bool = False
    # bisect: the ends, and how often a commit has to pass.
    good: str | None = None
    bad: str | None = None
    repeat: int = 1
    full: bool = False  # mutants: all that are likely to notice, whatever failed by then
    survivors: bool = False  # mutants: only a list of those that lived
    generic: int | None = None  # mutants: so many at random
    nic: Nic = Nic()
    # A file with the modules and tests to run, an id a line.
    only: Path | None = None
    events: Path | None = None
    junit: Path | None = None
    html: Path | None = None
    json: Path | None = None
    markdown: Path | None = None
    paths: list[str] = field(default_factory=list)

    @property
    def reads(self) -> bool:
        """Whether nothing of it needs root, or a kernel to test."""
        return self.command in _READERS and not self.nic.card


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Raise Trouble."""
        raise Trouble(f"{message} (see --help)")


def deadline(word: str) -> float:
    """Return a number of seconds that one can wait."""
    seconds = float(word)
    if not 0 < seconds < 1e6:
        raise ValueError
    return seconds


def parse(argv: list[str]) -> Options:
    """Return the options. Raises Trouble for what makes no sense; exits for --help."""
    parser = Parser(
        prog="run_tests.py",
        description="Test io_uring zero-copy receive on a kernel of your choice; prints KTAP.",
        epilog="commands: " + "; ".join(f"{name}: {what}" for name, what in COMMANDS.items()),
        # An option's name decides on the exit status before it is parsed.
        allow_abbrev=False,
    )
    add = parser.add_argument
    what = "tests: files, or pytest ids; compare: OLD NEW; mutants: ids; nic: an interface"
    add("words", nargs="*", metavar="[command] [path]", help=what)
    add("--profile", choices=PROFILES, help="kernel config (plain)")
    add("--tree", type=Path, metavar="DIR", help="build this kernel tree, not the reference")
    add("--apply-series", action="store_true", help="with --tree: apply kernel/zctap/ to a copy")
    add("--kernel", type=Path, metavar="IMAGE", help="boot this bzImage, build nothing")
    add("--modules", type=Path, metavar="DIR", help="with --kernel: its lib/modules/VERSION")
    add("--debian", metavar="VERSION", help="boot Debian's newest kernel package of it: 6.1, 7.3")
    add("--host", action="store_true", help="test the running kernel, without a VM (root)")
    add("--no-install", action="store_true", help="list what is missing and exit with 2")
    add("--no-snapshot", action="store_true", help="boot the guest, do not restore a warm one")
    add("-k", dest="keyword", metavar="EXPR", help="only tests that match, as in pytest")
    add("-m", dest="markers", metavar="EXPR", help="only tests with such markers, as in pytest")
    add("--seed", type=int, metavar="N", help="of the tests' order and all they draw")
    add("--timeout", type=deadline, metavar="S", help="a test's deadline in seconds")
    add("-j", dest="jobs", type=int, metavar="N", help="guests at once (one a processor)")
    add(
        "--coverage",
        type=Path,
        nargs="?",
        const=_DEFAULT,
        metavar="DIR",
        help="with counters in the kernel: say which of its lines ran (DIR: in the cache)",
    )
    add(
        "--kmemleak",
        choices=("end", "module"),
        nargs="?",
        const="end",
        help="debug: look for leaked memory at the end, or after each module (with KVM always)",
    )
    add("--bisect-run", action="store_true", help="exit with 125 if the kernel cannot be judged")
    add("--only", type=Path, metavar="FILE", help="only the modules and tests that FILE lists")
    add("--good", metavar="COMMIT", help="bisect: where the tests still pass")
    add("--bad", metavar="COMMIT", help="bisect: where they fail")
    add("--repeat", type=int, metavar="N", help="bisect: a commit is good if it passes N times (1)")
    add("--bytes", type=size, default=0, metavar="SIZE", help="demo: of the stream, like 32M, 10G")
    add(
        "--dump",
        type=int,
        nargs="?",
        const=5,
        default=0,
        metavar="N",
        choices=range(1, 15),
        help="demo: show N frames, 14 at most (5)",
    )
    add("--rounds", type=count, default=0, metavar="N", help="bench: measurements of each (4)")
    add(
        "--sizes", type=sizes, default=(), metavar="N,...", help="bench: bytes a write, like 1K,64K"
    )
    add("--flows", type=counts, default=(), metavar="N,...", help="bench: connections at once")
    add("--mtus", type=counts, default=(), metavar="N,...", help="bench: bytes a packet")
    add("--tso", type=switched, default=(), metavar="on,off", help="bench: frames of 64 KiB")
    add("--loop", action="store_true", help="bench: a profile of the receive loop instead")
    mutant_options.add_to(parser)
    nic_options.add_to(parser)
    add("--events", type=Path, metavar="FILE", help="write what happens to FILE, as JSON lines")
    add("--junit", type=Path, metavar="FILE", help="write the verdicts to FILE, as JUnit XML")
    add("--html", type=Path, metavar="FILE", help="write a report to FILE, one page for browsers")
    add("--json", type=Path, metavar="FILE", help="contract, bench, mutants, nic: JSON, too")
    add("--markdown", type=Path, metavar="FILE", help="contract, mutants: to a file")
    given = parser.parse_intermixed_args(argv)

    words: list[str] = given.words
    command = words.pop(0) if words and words[0] in COMMANDS else "run"
    if sum(map(bool, (given.tree, given.kernel, given.debian, given.host))) > 1:
        raise Trouble("--tree, --kernel, --debian and --host exclude each other")
    if given.modules and not given.kernel:
        raise Trouble("--modules goes with --kernel")
    if given.apply_series and not given.tree:
        raise Trouble("--apply-series goes with --tree; the reference kernel has the series")
    if command != "demo" and (given.bytes or given.dump):
        raise Trouble("--bytes and --dump go with 'demo'")
    _check_bench(command, given)
    if command in ("demo", "bench"):
        _check_program(command, given, words)
    if command not in ("run", "contract", "timing", "demo", "bench") and given.host:
        raise Trouble(f"--host does not go with {command!r}")
    if command == "self" and words:
        raise Trouble("'self' runs everything; it takes no tests")
    if command == "build" and (given.kernel or given.debian):
        raise Trouble("'build' is for kernels that are built here, not --kernel or --debian")
    if given.jobs is not None and (given.jobs < 1 or given.host):
        raise Trouble(
            "-j: one guest at least" if given.jobs < 1 else "-j is for guests, not --host"
        )
    _check_reports(command, given)
    _check_bisect(command, given)
    mutant_options.check(command, given, words)
    nic = nic_options.check(command, given, words)
    if command == "compare":
        _check_compared(words)
    for word in words:
        if (
            command not in ("compare", "mutants", "nic")
            and not Path(word.split("::", 1)[0]).exists()
        ):
            raise Trouble(f"no such test file: {word}")
    return Options(
        command=command,
        profile=given.profile or ("cover" if given.coverage else "plain"),
        tree=given.tree,
        apply_series=given.apply_series,
        kernel=given.kernel,
        modules=given.modules,
        debian=given.debian,
        host=given.host,
        bytes=given.bytes,
        dump=given.dump,
        rounds=given.rounds,
        sizes=given.sizes,
        flows=given.flows,
        mtus=given.mtus,
        tso=given.tso,
        loop=given.loop,
        install=not given.no_install,
        snapshot=not given.no_snapshot,
        keyword=given.keyword,
        markers=given.markers,
        seed=given.seed,
        timeout=given.timeout,
        jobs=given.jobs,
        kmemleak=_kmemleak(given, words),
        coverage=cache.root() / "coverage" if given.coverage is _DEFAULT else given.coverage,
        bisect_run=given.bisect_run,
        good=given.good,
        bad=given.bad,
        repeat=given.repeat or 1,
        full=given.full,
        survivors=given.survivors,
        generic=given.generic,
        nic=nic,
        only=given.only,
        events=given.events,
        junit=given.junit,
        html=given.html,
        json=given.json,
        markdown=given.markdown,
        paths=words,
    )


def _check_bench(command: str, given: argparse.Namespace) -> None:
    """Raise Trouble for what only `bench` has, and for what it cannot measure."""
    own = given.rounds or given.sizes or given.flows or given.mtus or given.tso or given.loop
    if own and command != "bench":
        raise Trouble("--rounds, --sizes, --flows, --mtus, --tso and --loop go with 'bench'")
    if why := refused(given.sizes, given.flows, given.mtus):
        raise Trouble(why)
    if given.loop and given.rounds:
        raise Trouble("--loop makes one profile of each way: no --rounds")
    if given.loop and (given.json or given.html):
        raise Trouble("--loop prints its profile: no --json, no --html")


def _check_program(command: str, given: argparse.Namespace, words: list[str]) -> None:
    """Raise Trouble for what is of tests, with what runs none of them."""
    if words:
        raise Trouble(f"{command!r} takes no tests")
    of_tests = {
        "-k": given.keyword is not None,
        "-m": given.markers is not None,
        "-j": given.jobs is not None,
        "--seed": given.seed is not None,
        "--timeout": given.timeout is not None,
        "--only": given.only,
        "--kmemleak": given.kmemleak,
    }
    for name, is_given in of_tests.items():
        if is_given:
            raise Trouble(f"{name} is of tests; {command!r} runs none")


def _kmemleak(given: argparse.Namespace, paths: list[str]) -> str:
    """Say when to look for leaked memory: that takes as long as many a module of tests."""
    if given.kmemleak and (given.profile != "debug" or given.host):
        raise Trouble("--kmemleak goes with --profile debug")
    everything = not paths and given.keyword is None and given.markers is None
    if given.kmemleak:
        return str(given.kmemleak)
    return "auto" if given.profile == "debug" and everything and not given.host else ""


def _check_bisect(command: str, given: argparse.Namespace) -> None:
    """Raise Trouble for ends that are missing, or not wanted."""
    if command == "bisect" and not (given.tree and given.good and given.bad):
        raise Trouble("bisect needs --tree DIR, --good COMMIT and --bad COMMIT")
    if command == "bisect" and (given.only or given.bisect_run):
        raise Trouble("bisect sets --only and --bisect-run itself")
    if command != "bisect" and (given.good or given.bad or given.repeat is not None):
        raise Trouble("--good, --bad and --repeat go with 'bisect'")
    if given.repeat is not None and given.repeat < 1:
        raise Trouble("--repeat: once at least")
    if given.only and not given.only.is_file():
        raise Trouble(f"--only {given.only}: there is no such file")


def _check_compared(words: list[str]) -> None:
    """Raise Trouble unless there are two files to compare."""
    if len(words) != 2:
        raise Trouble("'compare' takes two files that --events has written: OLD NEW")
    for word in words:
        if not Path(word).exists():
            raise Trouble(f"no such file: {word}")


def _check_reports(command: str, given: argparse.Namespace) -> None:
    """Raise Trouble for reports that cannot be had."""
    if given.json and command not in ("contract", "bench", "mutants", "nic"):
        raise Trouble("--json goes with 'contract', 'bench', 'mutants' and 'nic'")
    if given.markdown and command not in ("contract", "mutants"):
        raise Trouble("--markdown goes with 'contract' and 'mutants'")
    outputs = {name: getattr(given, name) for name in ("events", "junit", "html")}
    for name, path in outputs.items():
        if path and command not in ("run", "self", *(["bench"] if name == "html" else [])):
            raise Trouble(f"--{name} does not go with {command!r}")
    written = [path for path in (given.json, given.markdown, *outputs.values()) if path]
    for path in written:
        if not path.parent.is_dir():
            raise Trouble(f"no such directory: {path.parent}")
        if path.is_dir():
            raise Trouble(f"a directory, not a file: {path}")
    if len({path.resolve() for path in written}) < len(written):
        raise Trouble("two reports cannot be one file")
    if not given.coverage:
        return
    if command != "run":
        raise Trouble(f"--coverage does not go with {command!r}")
    if given.profile not in (None, "cover"):
        raise Trouble(f"--coverage needs the profile cover, not {given.profile}")
    if given.host or given.kernel or given.debian:
        raise Trouble("--coverage needs a kernel that is built here")
    if "::" in str(given.coverage) or given.coverage.is_file():
        raise Trouble(f"--coverage {given.coverage}: not a directory (tests come before it)")
    if given.coverage is not _DEFAULT and (given.coverage / "conftest.py").exists():
        raise Trouble(f"--coverage {given.coverage}: has tests in it (name them before it)")
