# SPDX-License-Identifier: GPL-2.0
"""Threads that work on one thing at a time together, and fail together.

with Crew() as crew:
    crew.start(receive, flow)  # functions that end by themselves, or when crew.over is set
    crew.start(give_back)
"""

import threading
from collections.abc import Callable
from types import TracebackType

from lib.deadline import scaled


class Crew:
    """The threads. Leaving the block waits for them and raises the first error of any.

    over: set when one has failed, or the block has; whoever waits for the others looks at it.
    lock: for what belongs to one thread at a time, such as a ring's queues.
    """

    def __init__(self, seconds: float = 20.0) -> None:
        self.over, self.lock = threading.Event(), threading.RLock()
        self.errors: list[BaseException] = []
        self._seconds = seconds
        self._threads: list[threading.Thread] = []

    def start(self, work: Callable[..., object], *args: object) -> None:
        """Run a function in a thread of its own."""

        def body() -> None:
            try:
                work(*args)
            except BaseException as error:
                self.errors.append(error)
                self.over.set()

        name = getattr(work, "__name__", "crew")
        self._threads.append(threading.Thread(target=body, name=name, daemon=True))
        self._threads[-1].start()

    def check(self) -> None:
        """Raise the first error, if there is one: for a thread that waits for another's work."""
        if self.errors:
            raise RuntimeError("another thread has failed") from self.errors[0]

    def join(self) -> None:
        """Wait for all; TimeoutError names those that hang. Raises the first error of any."""
        limit = scaled(self._seconds)
        for thread in self._threads:
            thread.join(limit)
        hanging = [thread.name for thread in self._threads if thread.is_alive()]
        if self.errors:
            raise self.errors[0]
        if hanging:
            self.over.set()
            raise TimeoutError(f"not within {limit:.1f} s: {', '.join(hanging)} to end")

    def __enter__(self) -> "Crew":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.join()
            return
        self.over.set()
        for thread in self._threads:
            thread.join(scaled(1.0))
        if self.errors:
            raise self.errors[0]
