# SPDX-License-Identifier: GPL-2.0
"""Run the suite on the running kernel: pytest in a process of its own, no VM."""

from __future__ import annotations

import contextlib
import itertools
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from lib.run import known, outputs, suite
from lib.run.options import Options
from lib.run.resume import Ended, run_all
from lib.run.session import Lost, Session
from lib.run.streams import Unwritable
from lib.run.supervise import Supervisor
from lib.run.view import view
from lib.vm import cache
from lib.vm.command import mortal

# For one test (s). As for a guest under KVM (lib/vm/machine.py), but the machine may be busy.
_DEADLINE = 60.0
# What is killed is gone in no time, or never (s).
_DYING = 10.0


def run(options: Options, started: float, *, totals: bool = False) -> int:
    """Run the suite; return the exit status. Raises Trouble before the first test only.

    With `totals` the report ends with the counts, as kselftests have it.
    """
    selection = suite.select(options.paths)
    options = suite.seeded(options)
    listed = suite.listed(options, suite.modules(selection))
    # pytest has no ids for what is outside of its root.
    root = "/" if selection.extra else "."
    notes = [f"host: {os.uname().nodename}"]
    # With pyroute2, which nobody needs who imports this module for a run in a guest.
    from lib.run import host_card

    tested = host_card.named(options)
    if tested:
        notes.append(f"card: {tested.words}")
    device = tested.words if tested else "veth pairs, in network namespaces"
    key = known.host_key()
    supervisor = Supervisor(
        notes,
        started,
        [*([] if tested else [known.keeper(key, "host")]), outputs.writer(options, started)],
        outputs.events(options),
        view=view(known.durations(key, "host")),
        facts=outputs.facts(profile="host", device=device),
        totals=totals,
    )
    numbers = itertools.count(1)

    def session_of(rest: list[str] | None) -> Session:
        deadline = options.timeout or _DEADLINE
        name = f"pytest-{next(numbers)}"
        return Session(supervisor, name, deadline, starting=_DEADLINE, rest=rest)

    with cache.scratch() as scratch:

        def attempt(session: Session, only: list[str] | None) -> Ended:
            listed = Path(scratch, suite.ONLY)
            listed.write_text("\n".join(only or []))
            arguments = suite.pytest_arguments(
                options, selection.host, root=root, only=str(listed) if only else None
            )
            return _attempt(session, arguments, tested.variables if tested else {})

        share = [test for tests in listed.values() for test in tests] if options.only else None
        left = 0
        try:
            status = supervisor.over(lambda: run_all(attempt, session_of, share))
        finally:
            if tested:
                left = host_card.put_back(tested)
        # "All skipped" is no word for a card that is not as it was.
        return left if left and status in (0, 4) else status


def _attempt(session: Session, arguments: list[str], card: Mapping[str, str]) -> Ended:
    """Run pytest, and end all that it started; `card` are the variables that name one.

    Raises Lost.
    """
    events, events_write = os.pipe()
    environment = {
        **suite.NOT_INHERITED,
        "PYTHONPATH": str(suite.ROOT),
        "ZCTAP_EVENTS_FD": str(events_write),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    # A test that hangs would go on without us, as root: what it holds goes with it.
    process = subprocess.Popen(
        [*mortal("KILL"), sys.executable, "-m", "pytest", *arguments],
        cwd=suite.ROOT,
        env={**os.environ, **environment, **card},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(events_write,),
        start_new_session=True,
    )
    os.close(events_write)
    try:
        output = _follow(process, events, session)
        status = process.wait(max(session.until - time.monotonic(), 1))
    except (TimeoutError, subprocess.TimeoutExpired) as err:
        raise _hanging(process) from err
    except KeyboardInterrupt:
        # The reader of the report may have died of the same ^C.
        with contextlib.suppress(Unwritable):
            session.lose(Lost("interrupted", "interrupted", []), all_of_it=True)
        raise
    finally:
        os.close(events)
        _kill(process)
    return Ended(status, output)


def _kill(process: subprocess.Popen[bytes]) -> bool:
    """Kill what is left of a session: pytest, if it hangs, and what its tests have started.

    Returns whether pytest has gone. One that a bug has stopped in the kernel never does.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    try:
        process.wait(_DYING)
    except subprocess.TimeoutExpired:
        return False
    return True


def _hanging(process: subprocess.Popen[bytes]) -> Lost:
    """End a pytest that is past its deadline, and say what is known of it."""
    if _kill(process):
        return Lost("timeout", "no sign of life before the deadline", [])
    lines = []
    for task in sorted(Path(f"/proc/{process.pid}/task").glob("*")):
        with contextlib.suppress(OSError):
            lines.append(f"thread {task.name} ({Path(task, 'comm').read_text().strip()}):")
            lines += [f"  {line}" for line in Path(task, "stack").read_text().splitlines()]
    return Lost("lockup", "pytest hangs in the kernel, SIGKILL does not end it", lines)


def _follow(process: subprocess.Popen[bytes], events: int, session: Session) -> bytes:
    """Feed the session until the event channel closes; return the end of the output.

    Raises TimeoutError.
    """
    assert process.stdout
    output = b""
    with selectors.DefaultSelector() as selector:
        selector.register(events, selectors.EVENT_READ)
        selector.register(process.stdout, selectors.EVENT_READ)
        while events in selector.get_map():
            ready = selector.select(max(session.until - time.monotonic(), 0))
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                piece = os.read(key.fd, 65536)
                if not piece:
                    selector.unregister(key.fileobj)
                elif key.fd == events:
                    session.feed(piece)
                else:
                    output = (output + piece)[-65536:]
    return output
