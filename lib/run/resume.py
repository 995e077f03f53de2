# SPDX-License-Identifier: GPL-2.0
"""Run tests to the last one, whatever becomes of the pytest that runs them."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass

from lib.run.session import Lost, Session
from lib.trouble import Trouble

# A kernel on which so much goes wrong is not worth a fresh guest for each of its tests.
_LOSSES = 20
# Lost before there was a test to take the blame: nothing may ever come of it.
_FALSE_STARTS = 3


@dataclass(frozen=True)
class Ended:
    """pytest's exit status (as subprocess or a shell has it), and the end of what it printed."""

    status: int
    output: bytes

    @property
    def killed(self) -> str:
        """The name of the signal that ended it, or ""."""
        # 128 + n is how a shell has it, -n how Python does.
        number = -self.status if self.status < 0 else self.status - 128
        return signal.Signals(number).name if number in set(signal.Signals) else ""

    def why_early(self) -> str:
        """Say how pytest ended when there were tests left to run."""
        if self.killed:
            return f"pytest was killed by {self.killed}"
        return f"pytest ended early, with status {self.status}"


class NoStart(Trouble):
    """pytest could not start; `output` says why."""

    def __init__(self, ended: Ended) -> None:
        super().__init__(f"pytest could not start (status {ended.status}); see above")
        self.output = ended.output


# Runs pytest, on all that the user chose or only on the modules and tests in a list (as
# lib/report/only.py has it), and feeds the session. Raises Lost, Trouble.
Attempt = Callable[[Session, list[str] | None], Ended]


def run_all(
    attempt: Attempt,
    session_of: Callable[[list[str] | None], Session],
    share: list[str] | None,
    stopping: Callable[[], bool] = lambda: False,
    begun: Callable[[], bool] = lambda: False,
) -> None:
    """Run a share of the tests, None for all of them, by as many attempts as it takes.

    `session_of` gives the session for an attempt: of the tests asked for, or of those that are
    left after an earlier one was lost. `begun` is whether another share has tests already. Raises
    Trouble if nothing can be run at all.
    """
    rest: list[str] | None = None
    losses = 0
    while rest is None or rest:
        session = session_of(rest)
        hopeless = False
        try:
            ended = attempt(session, share if rest is None else rest)
            lost = _early(session, ended)
        except Lost as err:
            lost = err
        except (Trouble, OSError) as err:
            # Before the first result it is the user's to know, then it is one of the results.
            if rest is None and not losses and not (begun() or session.run.announced):
                raise
            lost, hopeless = Lost("no guest", str(err), []), True
        if not lost:
            session.end()
            return
        losses += 1
        if stopping():
            lost, hopeless = Lost("interrupted", "interrupted", []), True
        elif losses >= (_LOSSES if session.run.tests else _FALSE_STARTS):
            lost.lines.append(f"lost {losses} times: what is left is not run")
            hopeless = True
        left = session.lose(lost, all_of_it=hopeless)
        if hopeless:
            return
        rest = left if session.run.announced or rest is not None else None


def _early(session: Session, ended: Ended) -> Lost | None:
    """Return what to make of the end of a pytest that was not told to end; None: it was done.

    Raises NoStart.
    """
    if session.run.announced:
        left = session.run.pending() or session.run.left
        return Lost("crashed", ended.why_early(), []) if left else None
    if ended.killed:
        return Lost("crashed", ended.why_early(), [])
    raise NoStart(ended)
