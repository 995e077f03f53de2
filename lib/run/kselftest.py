# SPDX-License-Identifier: GPL-2.0
"""The suite as kselftest runs it: on the running kernel, and nothing is installed unasked.

Exit status: 0 all good, 1 something is not, 4 nothing was tested, for the reason given. Until it
has replaced itself by an interpreter that has them, this needs no packages.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import signal
import time

from lib.report.ktap import clean
from lib.run import streams
from lib.run.ending import catch_signals, unexpected
from lib.run.options import Options, Parser, deadline
from lib.setup import host, venv
from lib.trouble import Trouble
from lib.vm import cache

FAIL, SKIP = 1, 4
# The argument is kselftest's way: KSELFTEST_<program in capitals>_ARGS.
_ALLOW = "KSELFTEST_ZCTAP_PY_ARGS=--install"
# Package -> module.
_NEEDED = {
    "pytest": "pytest",
    "pytest-randomly": "pytest_randomly",
    "pyroute2": "pyroute2",
    "scapy": "scapy",
    # What the runner itself imports.
    "tqdm": "tqdm",
    "Jinja2": "jinja2",
    "MarkupSafe": "markupsafe",
}


class Skip(Exception):
    """Nothing can be tested here; the message says why, on one line."""


def main(program: str, argv: list[str]) -> int:
    """Run the suite and return the exit status; `program` is the path it was started by."""
    streams.make_sure()
    catch_signals()
    status = streams.written_out(_attempt(program, argv))
    return FAIL if status not in (0, SKIP, 128 + signal.SIGINT) else status


def _attempt(program: str, argv: list[str]) -> int:
    try:
        given = _parser().parse_args(argv)
        if not given.list:
            _check_machine()
        _change_interpreter(program, argv, install=given.install)
        return _run(given)
    except Skip as skip:
        # "1..0 # SKIP", as kselftest.h has it, is an error to kunit.py.
        print(f"KTAP version 1\n1..1\nok 1 zctap # SKIP {clean(str(skip))}", flush=True)
        return SKIP
    except Trouble as err:
        return _bail_out(str(err))
    except KeyboardInterrupt:
        print("# interrupted", flush=True)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        return FAIL
    except Exception as err:
        return _bail_out(unexpected(err))


def _bail_out(why: str) -> int:
    print(f"Bail out! {clean(why)}", flush=True)
    return FAIL


def _parser() -> Parser:
    parser = Parser(
        prog="zctap.py", description="Test io_uring zero-copy receive on the running kernel."
    )
    add = parser.add_argument
    add("paths", nargs="*", metavar="path", help="tests to run: files, or pytest ids (all)")
    add("-k", dest="keyword", metavar="EXPR", help="only tests that match, as in pytest")
    add("--seed", type=int, metavar="N", help="of the tests' order and all they draw")
    add("--timeout", type=deadline, metavar="S", help="a test's deadline in seconds")
    add("--install", action="store_true", help="install Python packages that are missing")
    add("--list", action="store_true", help="print the names of the tests, and run none")
    return parser


def _check_machine() -> None:
    """Raise Skip where the suite cannot run at all."""
    if platform.machine() != "x86_64":
        raise Skip(f"the suite needs x86_64, this is {platform.machine()}")
    if os.geteuid() != 0:
        raise Skip("needs root: it makes network namespaces and reads the kernel log")


def _change_interpreter(program: str, argv: list[str], *, install: bool) -> None:
    """Go on in the virtual environment, or here if that has what is needed, or raise Skip."""
    if not venv.active():
        cache.sweep()
        python = venv.python()
        if not python and install:
            if packages := host.missing(host.VENV):
                host.install(packages)
            python = venv.create()
        if python:
            os.execv(python, [str(python), program, *argv])
    missing = [name for name, module in _NEEDED.items() if not importlib.util.find_spec(module)]
    if missing:
        raise Skip(f"Python packages missing: {' '.join(missing)}; to allow it: {_ALLOW}")


def _run(given: argparse.Namespace) -> int:
    from lib.run import known, on_host
    from lib.run.resume import NoStart

    options = Options(
        host=True,
        install=False,
        keyword=given.keyword,
        seed=given.seed,
        timeout=given.timeout,
        paths=given.paths,
    )
    if given.list:
        print("\n".join(sorted(known.named(options))))
        return 0
    try:
        # 2: a file could not be written, as is on stderr.
        return on_host.run(options, time.monotonic(), totals=True)
    except NoStart as err:
        for line in err.output.decode(errors="replace").splitlines()[-40:]:
            print(f"# {clean(line)}")
        raise
