#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""One command: prepare a kernel and a guest, run the suite there, print KTAP on stdout.

Exit status: 0 all good, 1 a test failed, 2 bad usage or environment, or nobody to report to, 4
everything skipped; with --bisect-run 125 instead of 2 and 4.
Until it has replaced itself by the interpreter of its own virtual environment, this uses
nothing but the standard library.
"""

import errno
import os
import platform
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lib.run import streams
from lib.run.ending import catch_signals, unexpected
from lib.run.options import Options, parse
from lib.setup import host, venv
from lib.trouble import Trouble
from lib.vm import cache

# What whoever runs this can do something about, and is no bug of ours.
_THE_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


def needed(options: Options) -> list[str]:
    """Return the Debian packages that are missing for what was asked."""
    wanted = dict(host.VENV)
    if not (options.host or options.reads):
        wanted |= host.GUEST
        if not (options.kernel or options.debian):
            wanted |= host.BUILD
        # Some of the project's own tests are of a kernel with modules.
        if options.modules or options.debian or options.command == "self":
            wanted |= host.MODULES
    return host.missing(wanted)


def set_up(options: Options) -> Path:
    """Install what is missing; return the virtual environment's interpreter."""
    packages = needed(options)
    python = venv.python()
    if not options.install and (packages or not python):
        lines = []
        if packages:
            lines.append(f"Debian packages missing: {' '.join(packages)}")
        if not python:
            lines.append(f"Python packages missing: {' '.join(venv.packages())}")
        raise Trouble("; ".join(lines))
    if packages:
        host.install(packages)
    return python or venv.create()


def check_machine(options: Options) -> None:
    """Say early what would fail late."""
    if platform.machine() != "x86_64" or sys.platform != "linux":
        raise Trouble(f"this needs Linux on x86_64, not {sys.platform} on {platform.machine()}")
    if sys.version_info < (3, 11):  # noqa: UP036 - that is what is asked
        raise Trouble(f"this needs Python 3.11 or later, not {platform.python_version()}")
    if options.host and not options.reads and os.geteuid() != 0:
        raise Trouble("--host needs root: it makes network namespaces and reads the kernel log")


def main(argv: list[str]) -> int:
    """Run, and return the exit status: what bisecting expects, if that is what it is for."""
    # A hook, or git bisect, tells its children of one repository. We are asked about others.
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        os.environ.pop(name, None)
    try:
        streams.make_sure()
        status = attempt(argv)
    except Exception:
        # Not even stderr can be written to. Python's own 1 would be a verdict on the kernel.
        status = 2
    status = streams.written_out(status)
    return 125 if status in (2, 4) and "--bisect-run" in argv else status


def attempt(argv: list[str]) -> int:
    """Run, and return the exit status."""
    catch_signals()
    try:
        options = parse(argv)
        check_machine(options)
        if not venv.active():
            cache.sweep()
            python = set_up(options)
            os.execv(python, [str(python), os.path.abspath(__file__), *argv])
        from lib.run.main import run

        return run(options)
    except Trouble as err:
        print(f"run_tests.py: {err}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("run_tests.py: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # Whoever read what this prints has gone; so do we.
        return 2
    except OSError as err:
        if err.errno in _THE_DISKS and err.filename:
            said = f"{err.filename}: {err.strerror}"
        elif err.errno == errno.ENOSPC:
            said = f"{err.strerror}, in {cache.root()} or where stdout goes"
        else:
            said = unexpected(err)
        print(f"run_tests.py: {said}", file=sys.stderr)
        return 2
    except Exception as err:
        # Not 1: that would be a verdict on the kernel.
        print(f"run_tests.py: {unexpected(err)}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
