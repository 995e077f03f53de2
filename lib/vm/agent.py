# SPDX-License-Identifier: GPL-2.0
"""The guest's init: imports what tests need, then runs commands in forked children.

Standard library only, and one file: the host puts it on a small disk, /dev/vdb, and the
kernel runs `python3 /dev/vdb` as its first process. So it is no part of the image.

The channel is a virtio-serial port, apart from the console. Both directions carry frames
of a 5-byte header, `>cI`: a letter and the payload's length.

    host to guest   J  a request, a JSON object with "do"
                    D  a piece of the archive that goes with a request; an empty one ends it
    guest to host   J  an answer, a JSON object with "is"
                    D  a piece of the archive that goes with an answer; an empty one ends it
                    E  what the running command writes to ZCTAP_EVENTS_FD
                    O  its stdout and stderr

Requests: hello, put, get, run, kill, off; see the functions of these names.
"""

import contextlib
import ctypes
import fcntl
import gc
import importlib
import io
import json
import os
import resource
import selectors
import signal
import socket
import struct
import sys
import tarfile
import time
import traceback
from typing import Any

Request = dict[str, Any]
HEADER = struct.Struct(">cI")
PIECE = 1 << 16
PORT_NAME = "org.zctap.agent"
# Every test imports these; scapy.all would take three times as long.
WARM = [
    "pytest",
    "_pytest.assertion.rewrite",
    "pytest_randomly",
    "pyroute2",
    "scapy.layers.inet",
    "scapy.layers.inet6",
    "ctypes.util",
    "multiprocessing",
    "dataclasses",
    "ipaddress",
    "random",
    "subprocess",
    "threading",
]
MOUNTS = [
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("debugfs", "/sys/kernel/debug", ""),
    ("cgroup2", "/sys/fs/cgroup", ""),
    ("tmpfs", "/run", "mode=755"),
    ("tmpfs", "/tmp", "mode=1777"),
    ("tmpfs", "/suite", "mode=755"),
    ("tmpfs", "/root", "mode=700"),
]
DEVICE_MOUNTS = [
    ("devpts", "/dev/pts", "ptmxmode=666"),
    ("tmpfs", "/dev/shm", "mode=1777"),
    ("hugetlbfs", "/dev/hugepages", ""),
]
# After a command's end, how long its descendants may keep its output open (s).
GRACE = 0.5
# The descriptor that a command finds in ZCTAP_EVENTS_FD.
EVENTS = 3
RNDADDENTROPY = 0x40085203
RNDRESEEDCRNG = 0x5207


class Channel:
    """Frames over the port."""

    def __init__(self, path: str) -> None:
        """Open the port; `path` is its device."""
        self.fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = os.read(self.fd, size - len(data))
            if not piece:
                # Nobody at the other end: a guest being restored is here for a moment.
                time.sleep(0.005)
                continue
            data += piece
        return data

    def receive(self) -> tuple[bytes, bytes]:
        """Wait for a frame; return its letter and payload."""
        letter, size = HEADER.unpack(self._read(HEADER.size))
        return letter, self._read(size)

    def send(self, letter: bytes, payload: bytes) -> None:
        """Send a frame, all of it."""
        rest = memoryview(HEADER.pack(letter, len(payload)) + payload)
        while rest:
            rest = rest[os.write(self.fd, rest) :]

    def answer(self, **fields: object) -> None:
        """Send a JSON object."""
        self.send(b"J", json.dumps(fields).encode())


def mount_all() -> list[str]:
    """Mount what a test may look for; return what could not be."""
    libc = ctypes.CDLL(None, use_errno=True)
    failed = []
    for kind, where, options in [*MOUNTS, *DEVICE_MOUNTS]:
        if where.startswith("/dev/"):
            os.makedirs(where, exist_ok=True)
        if libc.mount(kind.encode(), where.encode(), kind.encode(), 0, options.encode()):
            failed.append(f"{where}: {os.strerror(ctypes.get_errno())}")
    os.makedirs("/run/netns", exist_ok=True)
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1")):
        if not os.path.lexists(f"/dev/{name}"):
            os.symlink(target, f"/dev/{name}")
    return failed


def loopback_up() -> None:
    """Set `lo` up: ifreq is 16 bytes of name, then the flags."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, 0x8914, struct.pack("16sH22x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP


def write(path: str, text: str) -> None:
    """Set a knob; a kernel without it is no reason to stop."""
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError:
        pass


def prepare() -> list[str]:
    """Make the guest a place where tests can run; return what went wrong."""
    failed = mount_all()
    socket.sethostname("zctap")
    loopback_up()
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (65536, 65536))
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY,) * 2)
    write("/proc/sys/kernel/core_pattern", "/tmp/core.%e.%p")
    # The boot log is on the console by now; from here on warnings and worse.
    write("/proc/sys/kernel/printk", "5")
    # What is asked for here can fail later only for want of memory.
    write("/proc/sys/kernel/panic_on_oops", "1")
    os.environ.update(
        PATH="/usr/sbin:/usr/bin",
        HOME="/root",
        LANG="C.UTF-8",
        TERM="dumb",
        # Looking for plugins means reading every distribution's metadata.
        PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
    )
    return failed


def warm_up() -> list[str]:
    """Import what tests need; return what could not be."""
    failed = []
    for name in WARM:
        try:
            importlib.import_module(name)
        except Exception as err:
            failed.append(f"import {name}: {err}")
    with contextlib.suppress(Exception):
        rehearse()
    # Children share these pages: a collection in one must not touch them all.
    gc.collect()
    gc.freeze()
    return failed


def rehearse() -> None:
    """Run pytest once, on one test: it imports most of itself only when it is run."""
    import pytest

    with open("/tmp/test_rehearsal.py", "w") as file:
        file.write("def test_nothing(tmp_path, monkeypatch, capsys):\n    assert tmp_path\n")
    with (
        open(os.devnull, "w") as null,
        contextlib.redirect_stdout(null),
        contextlib.redirect_stderr(null),
    ):
        # pytest_randomly looks once for what else has to be seeded.
        flags = "-q --rootdir=/tmp -p no:cacheprovider -p pytest_randomly"
        pytest.main([*flags.split(), file.name])
    sys.modules.pop("test_rehearsal", None)
    if sys.path[0] == "/tmp":
        del sys.path[0]
    os.unlink(file.name)


def find_port() -> str:
    """Return the device of our port, by its name; it may take the driver a moment."""
    while True:
        for port in os.listdir("/sys/class/virtio-ports"):
            try:
                with open(f"/sys/class/virtio-ports/{port}/name") as file:
                    if file.read().strip() == PORT_NAME:
                        return f"/dev/{port}"
            except OSError:
                pass
        time.sleep(0.01)


def hello(channel: Channel, request: Request) -> None:
    """Take over the host's time (s since the epoch) and random numbers.

    A restored guest has the clock of its snapshot, and would draw what its siblings draw.
    """
    time.clock_settime(time.CLOCK_REALTIME, request["time"])
    seed = bytes.fromhex(request["seed"])
    with open("/dev/urandom", "wb") as device:
        # struct rand_pool_info: bits of entropy, bytes, the bytes
        pool = struct.pack("ii", len(seed) * 8, len(seed)) + seed
        fcntl.ioctl(device, RNDADDENTROPY, pool)
        fcntl.ioctl(device, RNDRESEEDCRNG)
    random = sys.modules.get("random")
    if random:
        random.seed(seed)
    channel.answer(**{"is": "hello"}, nonce=request["nonce"], kernel=os.uname().release)


def put(channel: Channel, request: Request) -> None:
    """Unpack the tar archive that follows into the directory `to`."""
    pieces = []
    while True:
        letter, piece = channel.receive()
        if letter != b"D" or not piece:
            break
        pieces.append(piece)
    made = set()
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
        # Not extractall(): setting owner and time of each file takes longer than all the rest.
        for member in archive:
            path = os.path.join(request["to"], member.name)
            folder = os.path.dirname(path)
            if folder not in made:
                os.makedirs(folder, exist_ok=True)
                made.add(folder)
            content = archive.extractfile(member)
            if content:
                with open(path, "wb") as file:
                    file.write(content.read())
                # As in the archive, always the same: Python goes by it to trust what it compiled.
                os.utime(path, (member.mtime, member.mtime))
                if member.mode & 0o111:
                    os.chmod(path, member.mode)
    channel.answer(**{"is": "put"})


def get(channel: Channel, request: Request) -> None:
    """Send the files below `from` whose names end in `suffix`, as a tar archive."""
    top = request["from"]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for where, _, names in os.walk(top):
            for name in names:
                if name.endswith(request["suffix"]):
                    path = os.path.join(where, name)
                    archive.add(path, arcname=os.path.relpath(path, top))
    data = buffer.getvalue()
    channel.answer(**{"is": "get"})
    for start in range(0, len(data), PIECE):
        channel.send(b"D", data[start : start + PIECE])
    channel.send(b"D", b"")


def child(request: Request) -> int:
    """Become the command, in a forked child; return an exit status if it comes back."""
    os.chdir(request.get("cwd", "/"))
    os.environ.update(request.get("env", {}))
    os.environ["ZCTAP_EVENTS_FD"] = str(EVENTS)
    argv = request["argv"]
    if argv[0] != "pytest":
        # What Python ignores it must not hand on; pytest has it ignored, as everywhere.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execvp(argv[0], argv)
    # Warm: the modules are here already.
    sys.path[:0] = [part for part in os.environ.get("PYTHONPATH", "").split(":") if part]
    sys.argv = argv
    # This interpreter runs with -B; a command's bytecode is kept by the host, see lib/run.
    sys.dont_write_bytecode = False
    import pytest

    return int(pytest.main(argv[1:]))


def spawn(request: Request) -> tuple[int, int, int]:
    """Start a command; return its pid and the reading ends of its events and output."""
    events, events_write = os.pipe()
    output, output_write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(events_write)
        os.close(output_write)
        return pid, events, output
    status = 70  # EX_SOFTWARE
    try:
        os.setsid()
        null = os.open("/dev/null", os.O_RDONLY)
        for old, new in ((null, 0), (output_write, 1), (output_write, 2), (events_write, EVENTS)):
            os.dup2(old, new)
        os.set_inheritable(EVENTS, True)
        # The channel among them: no test must be able to write to it.
        os.closerange(EVENTS + 1, 65536)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # Line by line, as from a terminal: what a crash cuts short has been sent.
        sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
        status = child(request)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(status)


def run(channel: Channel, request: Request) -> None:
    """Run `argv` in `cwd` with `env` added, and pass on what it writes.

    ["pytest", ...] runs in this very interpreter's forked image. Answers "exit" with the
    status as of the shell: 128 + n for signal n.
    """
    pid, events, output = spawn(request)
    pidfd = os.pidfd_open(pid)
    selector = selectors.DefaultSelector()
    selector.register(events, selectors.EVENT_READ, b"E")
    selector.register(output, selectors.EVENT_READ, b"O")
    selector.register(pidfd, selectors.EVENT_READ, b"")
    selector.register(channel.fd, selectors.EVENT_READ, b"J")
    status: int | None = None
    last = float("inf")
    while status is None or selector.get_map().keys() & {events, output}:
        ready = selector.select(0.1 if status is not None else None)
        for key, _ in ready:
            if key.data == b"J":
                interrupt(channel, pid)
            elif key.data:
                piece = os.read(key.fd, PIECE)
                if piece:
                    channel.send(key.data, piece)
                else:
                    selector.unregister(key.fd)
            else:
                selector.unregister(pidfd)
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                last = time.monotonic() + GRACE
        # Something that is left running may hold the pipes open. What is in them is passed on.
        if time.monotonic() > last and not ready:
            break
    selector.close()
    for fd in (events, output, pidfd):
        os.close(fd)
    sweep()
    if status is not None and status < 0:
        status = 128 - status
    channel.answer(**{"is": "exit"}, status=status)


def interrupt(channel: Channel, pid: int) -> None:
    """Handle a request that comes while a command runs: only "kill" makes sense.

    Tasks that are blocked, and so will not be killed, show their stacks on the console.
    """
    letter, payload = channel.receive()
    request = json.loads(payload) if letter == b"J" else {}
    if request.get("do") == "kill":
        write("/proc/sysrq-trigger", "w")
        os.killpg(pid, request.get("signal", signal.SIGKILL))
        # One that is stopped takes no signal before it goes on.
        os.killpg(pid, signal.SIGCONT)
        channel.answer(**{"is": "killed"})


def sweep() -> None:
    """End all that a command left running: everything but this process, the first."""
    try:
        os.kill(-1, signal.SIGKILL)
        while os.waitpid(-1, 0)[0]:
            pass
    except (ProcessLookupError, ChildProcessError):
        pass


def off(channel: Channel, request: Request) -> None:
    """Power off."""
    channel.answer(**{"is": "off"})
    os.sync()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.reboot(0x4321FEDC)


def serve() -> None:
    """Get ready, say so, and then serve requests for good."""
    failed = prepare()
    channel = Channel(find_port())
    with open("/proc/uptime") as file:
        uptime = float(file.read().split()[0])
    channel.answer(**{"is": "booted"}, uptime=uptime, kernel=os.uname().release)
    failed += warm_up()
    channel.answer(**{"is": "ready"}, failed=failed)
    handlers = {"hello": hello, "put": put, "get": get, "run": run, "off": off}
    while True:
        letter, payload = channel.receive()
        if letter != b"J":
            continue
        request = json.loads(payload)
        handler = handlers.get(request["do"])
        if not handler:
            continue
        try:
            handler(channel, request)
        except Exception:
            # Whatever it is, the host is told, and the guest goes on.
            channel.answer(**{"is": "error"}, text=traceback.format_exc())


if __name__ == "__main__":
    serve()
