# SPDX-License-Identifier: GPL-2.0
"""Debian packages this machine must have, found by what they provide."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from lib.say import say
from lib.trouble import Trouble

# Users' PATHs often lack these, where mkfs.ext4 is.
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def _command(name: str) -> Callable[[], bool]:
    return lambda: shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SBIN}") is not None


def _file(*names: str) -> Callable[[], bool]:
    return lambda: any(Path("/usr/include", name).exists() for name in names)


def _module(name: str) -> Callable[[], bool]:
    return lambda: importlib.util.find_spec(name) is not None


# Package -> a test that says whether what it provides is here, however it got here.
VENV = {"python3-venv": _module("ensurepip")}
BUILD = {
    "gcc": _command("gcc"),
    "libc6-dev": _file("stdio.h"),
    "make": _command("make"),
    "flex": _command("flex"),
    "bison": _command("bison"),
    "bc": _command("bc"),
    "xz-utils": _command("xz"),
    "git": _command("git"),
    "libelf-dev": _file("libelf.h"),
    "libssl-dev": _file("openssl/opensslv.h"),
}
GUEST = {
    "qemu-system-x86": _command("qemu-system-x86_64"),
    "e2fsprogs": _command("mkfs.ext4"),
}
# For a kernel with modules.
MODULES = {
    "kmod": _command("depmod"),
    "cpio": _command("cpio"),
}


def missing(wanted: dict[str, Callable[[], bool]]) -> list[str]:
    """Return the packages of `wanted` whose test fails."""
    return [package for package, present in wanted.items() if not present()]


def install(packages: list[str]) -> None:
    """Install Debian packages by name. Raises Trouble."""
    names = " ".join(packages)
    if os.geteuid() != 0:
        raise Trouble(f"missing: {names}; as root: apt-get install {names}")
    if shutil.which("apt-get") is None:
        raise Trouble(f"missing what Debian has in: {names}; no apt-get here, install it by hand")
    say(f"setup: installing Debian packages: {names}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "-q", "-y", "--no-install-recommends", "install", *packages]
    for step in (["apt-get", "-q", "update"], command):
        # An update may fail for a source that has nothing to do with us.
        status, said = _to_its_end(step, environment)
    if status:
        last = said.strip().splitlines()[-1:] or [f"exit status {status}"]
        raise Trouble(f"apt-get install {names} failed: {last[0]}")


def _to_its_end(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Run a command that nobody should stop halfway; return its exit status and what it said."""
    # In a session of its own, as a terminal's ^C is for all of a group.
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate()
        except KeyboardInterrupt:
            say(f"setup: interrupted; {command[0]} goes on to its end first")
            process.communicate()
            raise
    return process.returncode, said
