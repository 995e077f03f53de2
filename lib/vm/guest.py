# SPDX-License-Identifier: GPL-2.0
"""A guest with the agent in it: restored warm, or booted; asked; lost; ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from lib.say import say
from lib.trouble import Trouble
from lib.vm import cache, death, qemu
from lib.vm.machine import Machine, processor
from lib.vm.processors import Processor, stuck, told
from lib.vm.qemu import Qemu
from lib.vm.qmp import QmpError
from lib.vm.wire import Closed, Silence, parse

# Bytes: of a console that a guest has filled with rubbish, no more is read.
_LOG = 1 << 18
# A processor is looked at so often, so many seconds apart.
_SAMPLES, _BETWEEN = 10, 0.05


class GuestLost(Exception):
    """The guest is gone or silent.

    `kind` is one of lib/report/model.py's LOST, `console` what matters of its console,
    `processors` where those are, if that was looked at. If the guest is `locked`, one of them takes
    no interrupts, and there is no use in asking for anything.
    """

    def __init__(
        self,
        kind: str,
        why: str,
        console: list[str],
        processors: list[str] | None = None,
        *,
        locked: bool = False,
    ) -> None:
        super().__init__(why)
        self.kind = kind
        self.console = console
        self.processors = processors or []
        self.locked = locked

    @property
    def known(self) -> list[str]:
        """All lines there are, for people; those of the console say so."""
        return [*(f"console: {line}" for line in self.console), *self.processors]


class Guest:
    """A running guest; a context manager that ends it."""

    def __init__(
        self, machine: Machine, *, snapshot: bool = True, network: socket.socket | None = None
    ) -> None:
        """Restore the machine's warm guest, or boot one and save it for the next time.

        With `snapshot` false boot, and save nothing. `origin` says which it was. `network` is a
        card's. Raises Trouble if the guest does not come up.
        """
        self.machine, self._network = machine, network
        self.kernel = ""
        # What did not work, but left a usable guest: a failed snapshot, a missing module.
        self.remarks: list[str] = []
        started = time.monotonic()
        cache.used(machine.kernel)
        self.console = _console_log()
        key = _warm_key(machine) if snapshot else ""
        warm = cache.entry("warm", key) if snapshot else None
        if not (warm and self._restore(warm / "state")):
            self._boot(key)
        self.seconds = time.monotonic() - started

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.qemu.kill()

    def _restore(self, state: Path) -> bool:
        """Try to restore; on failure remove the state, so that the next run makes another."""
        self.origin = "restored snapshot"
        try:
            self.qemu = Qemu(self.machine, self.console, state, self._network)
        except Trouble as err:
            self.remarks.append(f"the snapshot does not load ({err}); booting")
        else:
            try:
                self._hello()
                return True
            except (GuestLost, Trouble) as err:
                self.remarks.append(f"the restored guest does not answer ({err}); booting")
                self.qemu.kill()
            except BaseException:
                self.qemu.kill()
                raise
        # When all guests are being ended it is not the snapshot's fault.
        if not qemu.stopping():
            with contextlib.suppress(OSError):  # another guest has found out, too
                state.unlink()
                state.parent.rmdir()
        return False

    def _boot(self, key: str) -> None:
        """Boot, and unless `key` is empty save the warm guest under it. Raises Trouble."""
        self.origin = "booted"
        self.qemu = Qemu(self.machine, self.console, network=self._network)
        try:
            self._wait_for_init()
            failed = self.answer("ready", self.machine.warm_deadline)["failed"]
            self.remarks += [f"in the guest: {text}" for text in failed]  # type: ignore[attr-defined]
            if key:
                self._save(key)
            self._hello()
        except GuestLost as err:
            self.qemu.kill()
            for line in err.known:
                say(line)
            raise Trouble(f"the guest does not boot: {err}; its console: {self.console}") from err
        except BaseException:
            self.qemu.kill()
            raise

    def _wait_for_init(self) -> None:
        """Wait for the agent's first word. Raises GuestLost.

        A kernel that says nothing at all on its console is given up much earlier.
        """
        try:
            self.answer("booted", self.machine.first_word_deadline)
        except GuestLost as err:
            if err.kind not in ("silent", "lockup"):
                raise
            if not err.console:
                why = "its console stays empty"
                raise GuestLost("silent", why, [], err.processors) from err
            rest = self.machine.boot_deadline - self.machine.first_word_deadline
            self.answer("booted", rest)

    def _save(self, key: str) -> None:
        """Publish the guest's state; without it there is just no warm guest next time."""
        try:
            cache.need_space(cache.folder("warm"), cache.GIB, "the warm guest's state")
            with cache.publish("warm", key) as staging:
                self.qemu.save(staging / "state", 20 * self.machine.patience)
            cache.prune("warm", keep=8)
            self.origin = "booted, snapshot taken"
        except (QmpError, Trouble) as err:
            self.remarks.append(f"no snapshot: {err}")
        try:
            self.qemu.resume(self.machine.answer_deadline)
        except QmpError as err:
            raise Trouble(f"the guest does not go on after its snapshot: {err}") from err

    def _hello(self) -> None:
        """Give the guest the time and entropy; learn its kernel's version."""
        nonce = os.urandom(8).hex()
        self.ask(do="hello", nonce=nonce, time=time.time(), seed=os.urandom(64).hex())
        answer = self.answer("hello", self.machine.answer_deadline)
        if answer.get("nonce") != nonce:
            raise Trouble("the guest answers a question of an earlier run")
        self.kernel = str(answer["kernel"])

    def ask(self, **request: object) -> None:
        """Send a request. Raises GuestLost."""
        until = time.monotonic() + self.machine.answer_deadline
        try:
            self.qemu.wire.request(until, **request)
        except (Silence, Closed) as err:
            raise self._lost(err) from err

    def answer(self, kind: str, deadline: float) -> dict[str, object]:
        """Wait `deadline` seconds for an answer. Raises GuestLost."""
        try:
            return self.qemu.wire.answer(kind, time.monotonic() + deadline)
        except (Silence, Closed) as err:
            raise self._lost(err) from err

    def put(self, archive: bytes, to: str) -> None:
        """Unpack a tar archive into a directory of the guest. Raises GuestLost."""
        self.ask(do="put", to=to)
        try:
            self.qemu.wire.put(archive, time.monotonic() + 2 * self.machine.answer_deadline)
        except (Silence, Closed) as err:
            raise self._lost(err) from err
        self.answer("put", 2 * self.machine.answer_deadline)

    def get(self, below: str, suffix: str) -> bytes:
        """Return files of a directory of the guest as a tar archive. Raises GuestLost."""
        self.ask(**{"do": "get", "from": below, "suffix": suffix})
        self.answer("get", 2 * self.machine.answer_deadline)
        try:
            return self.qemu.wire.get(time.monotonic() + 2 * self.machine.answer_deadline)
        except (Silence, Closed) as err:
            raise self._lost(err) from err

    def start(self, argv: Sequence[str], env: Mapping[str, str], cwd: str = "/") -> None:
        """Start a command; `next` gives what it writes. Raises GuestLost."""
        self.ask(do="run", argv=list(argv), env=dict(env), cwd=cwd)

    def next(self, until: float) -> tuple[str, bytes]:
        """Return the next piece of a running command: "event" or "output", with its bytes.

        When it has ended, "exit" with the status in decimal. `until` is of time.monotonic().
        Raises GuestLost.
        """
        try:
            while True:
                letter, payload = self.qemu.wire.receive(until)
                if letter == b"E":
                    return "event", payload
                if letter == b"O":
                    return "output", payload
                answer = parse(payload)
                if answer.get("is") == "exit":
                    return "exit", str(answer["status"]).encode()
                if answer.get("is") == "error":
                    raise Closed(answer.get("text", ""))
        except (Silence, Closed) as err:
            raise self._lost(err) from err

    def abort(self) -> str:
        """End a command that hangs, and return what it said.

        SIGABRT, on which Python's faulthandler (which pytest turns on) shows where it is.
        Raises GuestLost if the guest does not answer, or the command does not end.
        """
        until = time.monotonic() + self.machine.answer_deadline
        self.ask(do="kill", signal=signal.SIGABRT)
        self.answer("killed", self.machine.answer_deadline)
        said = b""
        try:
            while (piece := self.next(until))[0] != "exit":
                said += piece[1] if piece[0] == "output" else b""
        except GuestLost as err:
            if err.kind != "silent":
                raise
            why = "the test cannot be killed, the guest still answers"
            raise GuestLost("lockup", why, err.console, err.processors, locked=err.locked) from err
        return said.decode(errors="replace")

    def _lost(self, cause: Exception) -> GuestLost:
        """Say as well as can be what became of the guest."""
        silent = isinstance(cause, Silence)
        samples = self._samples() if silent else []
        locked = stuck(samples)
        lines = self.log()
        found = death.of_guest(
            lines, self.qemu.death(), silent=silent, error=str(cause), locked=locked
        )
        seen = told(samples[-1], self.machine.kernel.with_name("System.map")) if samples else []
        excerpt = death.excerpt(lines)
        return GuestLost(found.kind, found.why, excerpt, seen, locked=bool(locked))

    def _samples(self) -> list[list[Processor]]:
        """Look at the processors a few times; not at all if the whole machine stands still."""
        samples = []
        with contextlib.suppress(QmpError):
            for _ in range(_SAMPLES):
                samples.append(self.qemu.processors(self.machine.patience))
                time.sleep(_BETWEEN)
        return samples

    def log(self) -> list[str]:
        """Return the lines of the console so far: the end of them, if there are very many."""
        try:
            with self.console.open("rb") as file:
                file.seek(max(0, self.console.stat().st_size - _LOG))
                return death.told(file.read())
        except OSError:
            return []


def is_warm(machine: Machine) -> bool:
    """Whether such a guest need not be booted."""
    return cache.entry("warm", _warm_key(machine)) is not None


def _console_log() -> Path:
    """Return a new file for a console; kept are the latest 40 logs, and all of current runs."""
    folder = cache.folder("log")
    cache.prune("log", keep=40, spare=_is_of_a_run)
    path = folder / f"console-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{time.monotonic_ns()}"
    path.touch()
    return path


def _is_of_a_run(log: Path) -> bool:
    """Whether who has made that file, who is in its name, still runs: a guest may write to it."""
    kind, *words = log.name.split("-")
    return kind == "console" and len(words) == 4 and Path("/proc", words[2]).exists()


def _warm_key(machine: Machine) -> str:
    """Return the key of a machine's warm guest: all that its memory depends on."""
    agent = Path(__file__).with_name("agent.py")
    # The disk's path differs from run to run, and is not part of the state.
    arguments = json.dumps(machine.arguments(Path("agent")))
    # A kernel that was calibrated for another TSC has a clock that is fast or slow.
    host = f"{qemu.version()} {processor()}"
    return cache.key_of(host, arguments, machine.kernel, str(machine.root), agent)
