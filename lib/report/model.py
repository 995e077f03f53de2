# SPDX-License-Identifier: GPL-2.0
"""What a run has found so far, built from events as they come.

Whatever happens to the channel, each announced test ends up with exactly one result, and
one that was not reported never counts as passed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from lib.report.series import Series, series_of

REPORTED = ("passed", "failed", "skipped", "xfailed", "xpassed")
# Not from the guest: the test that was running when it was lost, and those after it.
LOST = (
    "panic",  # of the kernel, for no cause that has a word of its own here
    "oops",  # a bad access, a BUG(), a KASAN report
    "lockup",  # soft or hard, a hung task, an RCU stall
    "oom",  # memory exhausted: a panic for it, or pytest killed for it
    "silent",  # neither an answer nor a word on the console
    "qemu",  # the virtual machine itself ended
    "no guest",  # none could be had to go on with
    "crashed",  # pytest, or the guest's agent
    "timeout",  # the test is past its deadline, the guest answers
    "interrupted",  # by the user
    "not run",
)
# Of these, what does not speak against the kernel.
NOT_THE_KERNEL = ("qemu", "no guest", "interrupted", "not run")
GOOD = ("passed", "xfailed", "xpassed")
# In a file of events, the session of what the host itself has to say: no guest has this name.
HOST = "host"


def module_of(test: str) -> str:
    """Return the part of a test's id before the first "::"; a module is its own."""
    return test.split("::", 1)[0]


@dataclass(frozen=True)
class Result:
    """A test's verdict. `duration` in seconds."""

    id: str
    outcome: str
    duration: float = 0.0
    reason: str = ""
    detail: str = ""
    contract: tuple[str, ...] = ()
    # What was waited for -> seconds, the longest first.
    waits: dict[str, float] = field(default_factory=dict)
    samples: tuple[Series, ...] = ()

    @property
    def module(self) -> str:
        """The part of the id before the first "::"."""
        return module_of(self.id)

    @property
    def name(self) -> str:
        """The rest."""
        return self.id.partition("::")[2] or self.id


@dataclass
class Run:
    """The state of a run: of one session of pytest, or of several that were joined."""

    # What gets the blame where there is no test to take it.
    name: str = "session"
    tests: list[str] = field(default_factory=list)
    results: dict[str, Result] = field(default_factory=dict)
    running: str | None = None
    # Modules, and tests of them, that pytest will collect only when it gets there.
    left: list[str] = field(default_factory=list)
    # Modules that turned out to have no test.
    empty: list[str] = field(default_factory=list)
    # How often pytest has said what it will run.
    stages: int = 0
    ended: bool = False
    kernel: str = ""
    seed: int | None = None
    # Test -> ids of docs/contract.md that it names.
    contract: dict[str, list[str]] = field(default_factory=dict)
    # What the channel brought that it should not have. Makes the run fail.
    complaints: list[str] = field(default_factory=list)
    # What the host knows of the run: name -> words for people.
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def announced(self) -> bool:
        """Whether any test is known from pytest itself."""
        return self.stages > 0

    def feed(self, line: bytes) -> list[Result]:
        """Take a line of the channel; return the results that are new by it."""
        try:
            event = json.loads(line)
            return self._event(event["ev"], event)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
            self.complaints.append(f"not an event ({err!r}): {line[:120]!r}")
            return []

    def _event(self, kind: str, event: dict[str, object]) -> list[Result]:
        if kind == "session":
            tests = event["tests"]
            if not isinstance(tests, list) or (self.announced and not self.left):
                raise ValueError("a second session, or one without tests")
            earlier = self.tests if self.announced else []
            self.stages += 1
            self.tests = earlier + [str(test) for test in tests]
            self.left = _words(event.get("left"))
            self.empty += _words(event.get("empty"))
            self.kernel = str(event.get("kernel", ""))
            seed = event.get("seed")
            self.seed = seed if isinstance(seed, int) else None
            contract = event.get("contract")
            named = contract if isinstance(contract, dict) else {}
            self.contract |= {test: _words(ids) for test, ids in named.items()}
        elif kind == "start":
            self.running = str(event["id"])
        elif kind == "result":
            return self._result(event)
        elif kind == "end":
            self.ended = True
        else:
            raise ValueError(f"event {kind!r}")
        return []

    def _result(self, event: dict[str, object]) -> list[Result]:
        # Not those of LOST: a guest cannot know, and none may say so.
        result = result_of(event, REPORTED)
        if result.id in self.results:
            raise ValueError(f"a second result of {result.id}")
        if self.running == result.id:
            self.running = None
        if result.id not in self.tests:
            self.complaints.append(f"a result of {result.id}, which was not announced")
            self.tests.append(result.id)
        self.results[result.id] = result
        return [result]

    def judge(self, event: dict[str, object]) -> None:
        """Take an event that the host has written itself: it may say that a test was lost."""
        if event.get("ev") == "run":
            facts = event["facts"]
            if not isinstance(facts, dict):
                raise ValueError("facts that are none")
            self.facts |= {str(name): str(value) for name, value in facts.items()}
            return
        result = result_of(event, (*REPORTED, *LOST))
        if result.id not in self.tests:
            self.tests.append(result.id)
        self.results[result.id] = result

    def pending(self) -> list[str]:
        """Return the tests that were announced and have no result."""
        return [test for test in self.tests if test not in self.results]

    def lose_one(self, outcome: str, why: str, detail: str = "") -> list[Result]:
        """The guest is gone: the test that was running gets `outcome`, one of LOST.

        If none was running, the first pending one gets it, for that one was next; if none is
        pending either, the session itself. Return the new result, in a list.
        """
        pending = self.pending()
        following = next(iter([*pending, *self.left]), self.name)
        culprit = self.running if self.running in pending else following
        self.left = [entry for entry in self.left if entry != culprit]
        if culprit not in self.tests:
            self.tests.append(culprit)
        elif self.running != culprit:
            why = f"{why} (between tests: this one had not begun)"
        self.running = None
        self.results[culprit] = Result(culprit, outcome, reason=why, detail=detail)
        return [self.results[culprit]]

    def lose(self, outcome: str, why: str, detail: str = "") -> list[Result]:
        """The run ends here: as lose_one(), and what is pending then is "not run"."""
        new = self.lose_one(outcome, why, detail)
        reason = why if outcome == "interrupted" else "the run ended before it"
        self.tests += self.left
        self.left = []
        for test in self.pending():
            self.results[test] = Result(test, "not run", reason=reason)
            new.append(self.results[test])
        return new

    def join(self, session: Run) -> None:
        """Add what another session has announced; this run is that of several guests."""
        known = set(self.tests)
        self.tests += [test for test in session.tests if test not in known]
        self.empty += [module for module in session.empty if module not in self.empty]
        self.contract |= session.contract
        self.kernel = self.kernel or session.kernel
        self.seed = session.seed if self.seed is None else self.seed

    def take(self, results: Iterable[Result]) -> None:
        """Add results of another session."""
        self.results |= {result.id: result for result in results}

    def exit_status(self) -> int:
        """Return 0 all good, 1 a test failed, 4 everything skipped."""
        outcomes = {result.outcome for result in self.results.values()}
        if self.complaints or self.pending() or self.left or outcomes - {*GOOD, "skipped"}:
            return 1
        return 4 if outcomes <= {"skipped"} else 0

    def speaks_against_the_kernel(self) -> bool:
        """Whether anything that went wrong may be the kernel's doing."""
        outcomes = {result.outcome for result in self.results.values()}
        return bool(outcomes - {*GOOD, "skipped", *NOT_THE_KERNEL})

    def summary(self) -> str:
        """Return the counts on one line."""
        return count(result.outcome for result in self.results.values())

    def totals(self) -> str:
        """Return the counts as kselftest.h prints them at a test's end."""
        words = {"pass": "passed", "fail": "failed", "xfail": "xfailed", "xpass": "xpassed"}
        words["skip"] = "skipped"
        found = [result.outcome for result in self.results.values()]
        counts = {word: found.count(outcome) for word, outcome in words.items()}
        counts["error"] = len(found) - sum(counts.values())
        return "Totals: " + " ".join(f"{word}:{count}" for word, count in counts.items())


def result_of(event: dict[str, object], outcomes: Collection[str]) -> Result:
    """Return the result of an event. Raises ValueError, KeyError for one that cannot be."""
    waits = event.get("waits")
    result = Result(
        id=str(event["id"]),
        outcome=str(event["outcome"]),
        duration=float(str(event.get("duration", 0))),
        reason=str(event.get("reason") or ""),
        detail=str(event.get("detail") or ""),
        contract=tuple(_words(event.get("contract"))),
        waits={
            what: seconds
            for what, seconds in (waits.items() if isinstance(waits, dict) else ())
            if type(seconds) in (int, float)
        },
        samples=series_of(event.get("samples")),
    )
    if result.outcome not in outcomes:
        raise ValueError(f"outcome {result.outcome!r}")
    if not math.isfinite(result.duration):
        raise ValueError(f"duration {result.duration}")
    return result


def _words(field: object) -> list[str]:
    return [str(word) for word in field] if isinstance(field, list) else []


def replay(events: Iterable[bytes]) -> Run:
    """Return the run that a file of events tells of: one object a line, of several sessions."""
    whole, sessions = Run(), dict[str, Run]()
    for line in events:
        try:
            event = json.loads(line)
            name = str(event["session"])
            if name == HOST:
                whole.judge(event)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            whole.complaints.append(f"an event of no session: {line[:120]!r}")
            continue
        if name == HOST:
            continue
        session = sessions.setdefault(name, Run(name=name))
        whole.take(session.feed(line))
        whole.join(session)
    judged = {result.module for result in whole.results.values()}
    for session in sessions.values():
        whole.complaints += session.complaints
        # The file ends early: nobody knows which tests these would have had.
        whole.left += [entry for entry in session.left if module_of(entry) not in judged]
    return whole


def count(outcomes: Iterable[str]) -> str:
    """Return "12 passed, 1 failed", in the order of the tables above."""
    found = list(outcomes)
    parts = [f"{found.count(name)} {name}" for name in (*REPORTED, *LOST) if name in found]
    return ", ".join(parts) or "no tests"
