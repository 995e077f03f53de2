# SPDX-License-Identifier: GPL-2.0
"""A QEMU process: started, asked, saved, restored, and always ended."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import BinaryIO

from lib.trouble import Trouble
from lib.vm import cache
from lib.vm.command import mortal, run
from lib.vm.machine import PORT_NAME, Machine, agent_disk, escaped
from lib.vm.processors import Processor, parsed
from lib.vm.qmp import Monitor, QmpError
from lib.vm.wire import Wire

Process = subprocess.Popen[bytes]
PROGRAM = "qemu-system-x86_64"
# A runner that is killed leaves no guest: the kernel ends it with the thread that started it.
_MORTAL = mortal("KILL")


def version() -> str:
    """Return QEMU's version line. Raises Trouble if there is none."""
    return run([PROGRAM, "--version"]).decode().splitlines()[0]


class _Running:
    """The machines of this process, for whoever has to end them all from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._processes: set[Process] = set()
        self.stopping = False

    def start(self, words: list[str], output: BinaryIO, fds: tuple[int, ...]) -> Process:
        """Start a machine. Raises Trouble when all are to end."""
        with self._lock:
            if self.stopping:
                raise Trouble("no new guest: the run is being stopped")
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=fds,
                # A Ctrl-C is for the runner, which decides what becomes of the guest.
                process_group=0,
            )
            self._processes.add(process)
        return process

    def forget(self, process: Process) -> None:
        """It has ended."""
        with self._lock:
            self._processes.discard(process)

    def stop(self) -> None:
        """End all machines, and start no more."""
        with self._lock:
            self.stopping = True
            for process in self._processes:
                process.kill()


_running = _Running()


def stop() -> None:
    """End all guests of this process, for good; those who wait for them find them lost."""
    _running.stop()


def stopping() -> bool:
    """Whether stop() was called."""
    return _running.stopping


class Qemu:
    """A running machine. Its channels are socket pairs: nothing in the file system."""

    def __init__(
        self,
        machine: Machine,
        console: Path,
        state: Path | None = None,
        network: socket.socket | None = None,
    ) -> None:
        """Start it, or restore it from `state`; the guest's console goes to a file.

        `network` is what its card sends to and receives from, frame by frame. Raises Trouble if
        QEMU does not start, or does not take the state.
        """
        if not shutil.which(PROGRAM):
            raise Trouble(f"no {PROGRAM}: apt-get install qemu-system-x86")
        self.console = console
        self._files = cache.scratch()
        self._messages = Path(self._files.name, "messages")
        wire, wire_end = socket.socketpair()
        monitor, monitor_end = socket.socketpair()
        self.wire = Wire(wire)
        self.monitor = Monitor(monitor)
        words = [*_MORTAL, PROGRAM, *machine.arguments(agent_disk(Path(self._files.name)))]
        words += ["-chardev", f"file,id=console,path={escaped(console)}"]
        words += ["-serial", "chardev:console"]
        words += ["-device", "virtio-serial-pci"]
        words += ["-chardev", f"socket,id=agent,fd={wire_end.fileno()}"]
        words += ["-device", f"virtserialport,chardev=agent,name={PORT_NAME}"]
        words += ["-chardev", f"socket,id=qmp,fd={monitor_end.fileno()}"]
        words += ["-mon", "chardev=qmp,mode=control"]
        fds = [wire_end.fileno(), monitor_end.fileno()]
        if network:
            words += ["-netdev", f"socket,id=card,fd={network.fileno()}"]
            fds.append(network.fileno())
            words += _second_monitor(machine)
        if state:
            words += ["-incoming", f"exec:cat {shlex.quote(str(state))}"]
        with self._messages.open("wb") as messages:
            self.process = _running.start(words, messages, tuple(fds))
        wire_end.close()
        monitor_end.close()
        try:
            until = time.monotonic() + machine.answer_deadline
            self.monitor.greet(until)
            if state:
                self._until_running(until)
        except QmpError as err:
            # Its last words go with its files.
            said = self.said()
            self.kill()
            raise Trouble(f"QEMU does not start: {said or err}") from err
        except BaseException:
            self.kill()
            raise

    def _until_running(self, until: float) -> None:
        """Wait until an incoming state is loaded, then let it run. Raises QmpError."""
        while self.monitor.command("query-status", until)["status"] == "inmigrate":
            if time.monotonic() > until:
                raise QmpError("the restore does not end")
            time.sleep(0.01)
        # It was saved while it was stopped, and comes back so.
        self.monitor.command("cont", until)

    def save(self, state: Path, deadline: float) -> None:
        """Stop the machine and write its state to a file. Raises QmpError."""
        until = time.monotonic() + deadline
        command = self.monitor.command
        command("stop", until)
        # Nobody is waiting for a network: as fast as it goes.
        command("migrate-set-parameters", until, **{"max-bandwidth": 1 << 40})
        command("migrate", until, uri=f"exec:cat > {shlex.quote(str(state))}")
        while (status := command("query-migrate", until)["status"]) != "completed":
            if status in ("failed", "cancelled") or time.monotonic() > until:
                raise QmpError(f"saving the guest's state: {status}")
            time.sleep(0.02)

    def resume(self, deadline: float) -> None:
        """Let a saved machine go on. Raises QmpError."""
        self.monitor.command("cont", time.monotonic() + deadline)

    def death(self) -> str:
        """Say how the machine ended, or "" if it runs."""
        self.monitor.collect()
        names = [event["event"] for event in self.monitor.events]
        if "GUEST_PANICKED" in names:
            return "the guest panicked"
        for event in self.monitor.events:
            if event["event"] == "SHUTDOWN":
                return f"the guest shut down ({event['data'].get('reason')})"
        # The last events and the exit race; the process has the last word.
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self.process.wait(0.2)
            if status < 0:
                return f"QEMU was killed by {signal.Signals(-status).name}"
            return f"QEMU exited with {status}: {self.said()}"
        return ""

    def processors(self, deadline: float) -> list[Processor]:
        """Return what the processors are at. Raises QmpError."""
        until = time.monotonic() + deadline
        command = {"command-line": "info registers -a"}
        return parsed(self.monitor.command("human-monitor-command", until, **command))

    def said(self) -> str:
        """Return QEMU's last line of output."""
        lines = self._messages.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def kill(self) -> None:
        """End it, whatever state it is in. There is nothing in it to be saved."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        _running.forget(self.process)
        self.wire.close()
        self.monitor.close()
        self._files.cleanup()


def _second_monitor(machine: Machine) -> list[str]:
    """Arguments for a monitor of the machine's that others may connect to, where they ask for it.

    It is no part of the machine's state: any snapshot can be restored with it and without.
    """
    folder = os.environ.get("ZCTAP_MONITOR")
    if not folder:
        return []
    path = Path(folder, machine.mac)
    return ["-qmp", f"unix:{str(path).replace(',', ',,')},server=on,wait=off"]


def accelerator(kernel: Path) -> str:
    """Return kvm if it really works here, else tcg; found out once per boot of the host.

    /dev/kvm may exist and guests hang all the same, for instance in a nested machine
    without support. So a kernel is started, and its decompressor or itself must speak up
    on the serial console within two seconds.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    # A no may be this kernel's fault, which does not boot.
    works = cache.folder("kvm") / f"{boot_id}-works"
    works_not = works.with_name(f"{boot_id}-{cache.key_of(str(kernel))}")
    if not works.exists() and not works_not.exists():
        cache.prune("kvm", keep=20)
        (works if _kvm_boots(kernel) else works_not).touch()
    return "kvm" if works.exists() else "tcg"


def _kvm_boots(kernel: Path, deadline: float = 2) -> bool:
    """Whether a kernel says anything at all under KVM, within `deadline` seconds."""
    words = [*_MORTAL, PROGRAM, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    words += ["-accel", "kvm", "-cpu", "host", "-m", "256M", "-serial", "stdio"]
    words += ["-kernel", str(kernel), "-append", "console=ttyS0 earlyprintk=serial panic=-1"]
    with subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        process_group=0,
    ) as process:
        timer = time.monotonic() + deadline
        said = b""
        assert process.stdout
        os.set_blocking(process.stdout.fileno(), False)
        try:
            while time.monotonic() < timer and b"Linux version" not in said:
                piece = process.stdout.read()
                if piece == b"":
                    break
                said += piece or b""
                time.sleep(0.02)
        finally:
            process.kill()
    return b"Linux version" in said
