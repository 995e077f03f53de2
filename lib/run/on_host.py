# SPDX-License-Identifier: GPL-2.0
"""Run the suite on the running kernel: pytest in a process of its own, no VM."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time

from lib.run import known, suite
from lib.run.options import Options
from lib.run.supervise import Supervisor, verdict

# For one test (s). As for a guest under KVM (lib/vm/machine.py), but the machine may be busy.
_DEADLINE = 60.0


def run(options: Options, started: float) -> int:
    """Run the suite; return the exit status. Raises Trouble before the first test only."""
    selection = suite.select(options.paths)
    # pytest has no ids for what is outside of its root.
    root = "/" if selection.extra else "."
    notes = [f"host: {os.uname().nodename}"]
    keep = known.keeper(known.host_key(), "host")
    deadline = options.timeout or _DEADLINE
    supervisor = Supervisor(notes, started, deadline, keep, options.events)
    events, events_write = os.pipe()
    arguments = suite.pytest_arguments(options, selection.host, root)
    environment = {
        "PYTHONPATH": str(suite.ROOT),
        "ZCTAP_EVENTS_FD": str(events_write),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=suite.ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(events_write,),
        start_new_session=True,
    )
    os.close(events_write)
    try:
        output = _follow(process, events, supervisor)
        status = process.wait(max(supervisor.until - time.monotonic(), 1))
    except (TimeoutError, subprocess.TimeoutExpired):
        supervisor.lose("timeout", "no sign of life before the deadline", [])
        return supervisor.finish()
    except KeyboardInterrupt:
        supervisor.lose("interrupted", "interrupted", [])
        supervisor.finish()
        raise
    finally:
        os.close(events)
        # What is left of the session: pytest, if it hangs, and whatever its tests started.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return verdict(supervisor, status, output)


def _follow(process: subprocess.Popen[bytes], events: int, supervisor: Supervisor) -> bytes:
    """Feed the supervisor until the event channel closes; return the end of the output.

    Raises TimeoutError.
    """
    assert process.stdout
    output = b""
    with selectors.DefaultSelector() as selector:
        selector.register(events, selectors.EVENT_READ)
        selector.register(process.stdout, selectors.EVENT_READ)
        while events in selector.get_map():
            ready = selector.select(max(supervisor.until - time.monotonic(), 0))
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                piece = os.read(key.fd, 65536)
                if not piece:
                    selector.unregister(key.fileobj)
                elif key.fd == events:
                    supervisor.feed(piece)
                else:
                    output = (output + piece)[-65536:]
    return output
