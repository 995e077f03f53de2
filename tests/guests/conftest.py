# SPDX-License-Identifier: GPL-2.0
"""Runs of ./run_tests.py in real guests; they need the reference kernel, and build none."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lib.deadline import wait_until
from lib.report.ktap import UNCOLLECTED
from lib.run.joined import MACS
from lib.vm import cache, kbuild, source
from lib.vm.qmp import Monitor

ROOT = Path(__file__).resolve().parents[2]
# Seconds, where no snapshot is there yet.
_TWO_BOOTS = 100
# A module has a line of its own only where it has no tests.
_RESULT = re.compile(r"(?:  (?=ok|not)|(?=.*# ERROR))(ok|not ok) \d+ (\S+)(?: # (.*))?")


def results(ktap: str) -> Iterator[tuple[str, str, str]]:
    """Give each test, or module without tests, its module, and "ok", "failed", or what its
    directive says: "skip", "timeout", "panic".
    """
    module = ""
    for line in ktap.splitlines():
        if line.startswith("  # Subtest: "):
            module = line.removeprefix("  # Subtest: ")
        elif match := _RESULT.fullmatch(line):
            word = (match[3] or "").removeprefix("ERROR ").split(" ")[0].rstrip(":").lower()
            name = module if match[2] == UNCOLLECTED else match[2]
            yield name, module, word or {"ok": "ok", "not ok": "failed"}[match[1]]


@dataclass
class Outcome:
    """What a run came to."""

    status: int
    ktap: str
    said: str

    @property
    def verdicts(self) -> dict[str, str]:
        """Test -> its verdict in a word."""
        return {name: word for name, _, word in results(self.ktap)}

    @property
    def modules(self) -> dict[str, str]:
        """Test -> its module."""
        return {name: module for name, module, _ in results(self.ktap)}

    def __repr__(self) -> str:
        return f"exit status {self.status}\n{self.ktap}\n{self.said}"


class Running:
    """A run under way, on a module of the test's own."""

    def __init__(self, folder: Path, text: str, *arguments: str) -> None:
        self._folder = folder
        module = folder / "test_it.py"
        module.write_text(text)
        self.events = folder / "events"
        self._mark = f"ZCTAP_RUN={uuid.uuid4()}"
        command = [sys.executable, str(ROOT / "run_tests.py"), "--events", str(self.events)]
        self.process = subprocess.Popen(
            [*command, *arguments, str(module)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                **dict([self._mark.split("=")]),
                "ZCTAP_MONITOR": str(folder),
            },
        )

    def has_begun(self, test: str) -> bool:
        """Whether a test has been announced."""
        start = f'"ev": "start", "id": "outside/test_it.py::{test}"'
        return start in self._events()

    def begun(self) -> int:
        """How many tests have been announced."""
        return self._events().count('"ev": "start"')

    def _events(self) -> str:
        """What is in the file; "" before it is there. A run that begins makes it, removes it and
        makes it again, as it looks whether it can.
        """
        try:
            return self.events.read_text()
        except FileNotFoundError:
            return ""

    def durations(self) -> list[float]:
        """The seconds of each test so far."""
        events = map(json.loads, self._events().splitlines())
        return [event["duration"] for event in events if event["ev"] == "result"]

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for it, as long as there is a run that could bring it about."""

        def over() -> bool:
            return condition() or self.process.poll() is not None

        wait_until(over, what, _TWO_BOOTS)
        assert condition(), f"it ended before {what}: {self.finish()}"

    def set_link(self, *, up: bool) -> None:
        """Put the cable into the card of a guest, or pull it out."""
        self._tell("set_link", name="card", up=up)

    def unplug(self) -> None:
        """Take the card out of a guest."""
        self._tell("device_del", id="nic")

    def _tell(self, command: str, **arguments: object) -> None:
        """Tell the QEMU of the guest with the card."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self._folder / MACS[0]))
            monitor, until = Monitor(sock), time.monotonic() + 10
            monitor.greet(until)
            monitor.command(command, until, **arguments)

    def guests(self) -> list[int]:
        """Return the pids of its guests."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if (entry / "cmdline").read_bytes().startswith(b"qemu-system") and (
                    self._mark.encode() in (entry / "environ").read_bytes()
                ):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def finish(self) -> Outcome:
        """Wait for its end."""
        ktap, said = self.process.communicate(timeout=300)
        return Outcome(self.process.returncode, ktap, said)


class Runner:
    """Starts runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.started: list[Running] = []

    def start(self, text: str, *arguments: str) -> Running:
        """Start a run of a module with this text."""
        self.started.append(Running(self._folder, text, *arguments))
        return self.started[-1]

    def __call__(self, text: str, *arguments: str) -> Outcome:
        """Run a module with this text to its end."""
        return self.start(text, *arguments).finish()


def is_built() -> bool:
    """Whether the reference kernel is in the cache."""
    key = kbuild.built_key(source.debian(), "plain") if source.at_hand() else None
    return bool(key and cache.entry("kernel", key))


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    """Starts runs of the test's own modules; none may leave a guest behind."""
    if not is_built():
        pytest.skip("the reference kernel is not built: ./run_tests.py build")
    runner = Runner(tmp_path)
    yield runner
    for run in runner.started:
        run.process.kill()
        run.process.wait()
        assert not run.guests(), f"guests left behind: {run.guests()}"
