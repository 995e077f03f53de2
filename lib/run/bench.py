# SPDX-License-Identifier: GPL-2.0
"""`bench`: run selftests/zctap/bench.py, in a guest or here, and report what it measures."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import NoReturn

from tqdm import tqdm

from lib.bench.measurement import Measurement
from lib.bench.summary import as_json, summary
from lib.bench.table import table
from lib.report.ktap import clean
from lib.report.page import bench as page
from lib.report.progress import clock
from lib.run import outputs
from lib.run.options import Options
from lib.run.program import Place
from lib.say import say, say_by

# In a log, one line at most this often (s).
_LOG_EVERY = 30.0
_BAR = "{desc} {percentage:3.0f}%|{bar:30}| {n_fmt}/{total_fmt}, {remaining} left"


class Follower:
    """Takes the lines as they come, and shows how far it has got."""

    def __init__(self) -> None:
        self.found: list[Measurement] = []
        self.profiles: list[dict[str, str]] = []
        self.remarks: list[str] = []
        self.kernel, self.total = "", 0
        self._steps = self._done = 0  # calibrations included
        self._rest = b""
        self._started = self._shown = time.monotonic()
        self._bar: tqdm[NoReturn] | None = None

    def feed(self, piece: bytes) -> None:
        """Take a piece of what it prints."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._line(line.decode(errors="replace"))

    def _line(self, line: str) -> None:
        try:
            event = json.loads(line)
            kind = event.pop("ev")
            if kind == "measurement":
                self.found.append(Measurement.of(event))
                self._progress()
            elif kind == "profile":
                self.profiles.append({name: str(value) for name, value in event.items()})
                self._progress()
            elif kind == "calibrated":
                self._progress()
            elif kind == "remark":
                self.remarks.append(clean(str(event["text"])))
                say(f"bench: {self.remarks[-1]}")
            elif kind == "plan":
                self.kernel, self.total = str(event["kernel"]), int(event["total"])
                self._begin(self.total + int(event["calibrations"]))
        except (ValueError, TypeError, KeyError, AttributeError):
            # What is wrong there, in words.
            say(clean(line))

    def _begin(self, steps: int) -> None:
        self._steps = steps
        self._started = self._shown = time.monotonic()
        if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            self._bar = tqdm(
                total=steps, desc="bench", bar_format=_BAR, leave=False, dynamic_ncols=True
            )
            say_by(lambda line: tqdm.write(line, file=sys.stderr))

    def _progress(self) -> None:
        self._done += 1
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update()
        elif now - self._shown > _LOG_EVERY:
            self._shown = now
            left = (self._steps - self._done) * (now - self._started) / self._done
            say(f"bench: {self._done} of {self._steps}, {clock(left)} left")

    @property
    def missing(self) -> str:
        """How much of the plan is there, if that is not all; else ""."""
        done = len(self.found) + len(self.profiles)
        return f"incomplete: {done} of {self.total} measurements" if done < self.total else ""

    def close(self) -> None:
        """It is over; say what was not a whole line, but for a figure that was cut off."""
        say_by(None)
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        if self._rest and not self._rest.startswith(b'{"ev"'):
            say(clean(self._rest.decode(errors="replace")))


def run(options: Options, place: Place) -> int:
    """Measure, and report; return the exit status. Raises Trouble."""
    started, follower = time.monotonic(), Follower()
    if options.profile == "debug" and not options.host:
        say("bench: a debug kernel: its figures mean nothing, ratios included")
    try:
        status = place.run("selftests.zctap.bench", _arguments(options), follower.feed)
    finally:
        # Whatever ended it: what has been measured is worth as much as ever.
        follower.close()
        facts = {**place.facts, "kernel": follower.kernel}
        facts["wall time"] = clock(time.monotonic() - started)
        if follower.missing:
            facts["incomplete"] = follower.missing
        if follower.remarks:
            facts["remarks"] = "; ".join(follower.remarks)
        _report(options, follower, facts)
    return status or int(bool(follower.missing))


def _report(options: Options, follower: Follower, facts: dict[str, str]) -> None:
    """Print, and write the files. Raises Trouble."""
    for profile in follower.profiles:
        print(f"RECV_ZC {profile['way']}, {profile['setting']}, {profile['bytes']} bytes:")
        print(*map(clean, profile["text"].strip().splitlines()), sep="\n", end="\n\n")
    rows = summary(follower.found)
    if rows:
        print(environment(facts), table(rows), sep="\n\n")
    if follower.missing:
        print(*([""] if rows else []), follower.missing, sep="\n")
    if not follower.total:
        return  # it has not begun
    if options.json:
        report = {
            "facts": facts,
            "planned": follower.total,
            "measured": len(follower.found),
            "rows": as_json(rows),
            "measurements": [json.loads(one.to_json()) for one in follower.found],
        }
        outputs.write(options.json, json.dumps(report, indent=1).encode() + b"\n")
    if options.html:
        outputs.write(options.html, page.render(facts, rows, follower.found).encode())


def environment(facts: dict[str, str]) -> str:
    """A line, or two: what no figure means anything without."""
    on = facts.get("machine") or facts.get("host", "")
    line = f"Linux {facts['kernel']}, profile {facts.get('profile', '?')}; {on}"
    return "\n".join([line, *filter(None, [facts.get("remarks")])])


def _arguments(options: Options) -> list[str]:
    words = [f"--rounds={options.rounds}"] if options.rounds else []
    for name in ("sizes", "flows", "mtus"):
        if values := getattr(options, name):
            words.append(f"--{name}={','.join(map(str, values))}")
    if options.tso:
        words.append(f"--tso={','.join('on' if tso else 'off' for tso in options.tso)}")
    return [*words, "--loop"] if options.loop else words
