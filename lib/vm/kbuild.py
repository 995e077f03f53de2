# SPDX-License-Identifier: GPL-2.0
"""Configure and build a kernel, out of tree and incrementally; publish the image."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.say import say
from lib.trouble import Trouble
from lib.vm import cache, kconfig, make, notes
from lib.vm.command import run
from lib.vm.source import Source

# The same source gives the same image, wherever and whenever it is built.
_REPRODUCIBLE = {
    "KBUILD_BUILD_TIMESTAMP": "1970-01-01 00:00:00 UTC",
    "KBUILD_BUILD_USER": "zctap",
    "KBUILD_BUILD_HOST": "selftests",
    "KBUILD_BUILD_VERSION": "1",
}

# Kbuild has a variable for a file and one for a directory, the latter set in its Makefile.
# On the command line it is expanded anew in each directory: no Makefile is changed.
_COVER = [
    "GCOV_PROFILE=$(if $(filter io_uring,$(obj)),y)",
    *(f"GCOV_PROFILE_{name}.o=y" for name in ("veth", "skbuff", "gro", "tcp", "tcp_input")),
]

_IMAGE = Path("arch/x86/boot/bzImage")
_BUILD_SPACE = {
    "plain": cache.GIB,
    "cover": cache.GIB,
    "debug": 3 * cache.GIB,
    "mutants": cache.GIB,
}


@dataclass(frozen=True)
class Symbols:
    """What lines of source can be told from."""

    vmlinux: Path
    tree: Path


@dataclass(frozen=True)
class Kernel:
    """A kernel image and what is known about it."""

    image: Path
    profile: str
    version: str  # for people
    uapi: Path | None  # its include/uapi/linux/io_uring.h
    cached: bool
    notes: Path | None = None  # what gcov needs of the build, see lib/vm/notes.py
    symbols: Symbols | None = None  # None: it was built without, or something else since
    # Of a modular kernel, see lib/vm/modular.py.
    initrd: Path | None = None
    modules: Path | None = None

    @property
    def config(self) -> Path | None:
        """Its .config, if it was built here."""
        path = self.image.with_name("config")
        return path if self.uapi and path.is_file() else None

    @property
    def key(self) -> str:
        """Return what tells this kernel from others."""
        return self.image.parent.name if self.uapi else cache.key_of(self.image)


def from_image(image: Path, profile: str, version: str = "") -> Kernel:
    """Return a kernel that somebody else built. Raises Trouble if it is none."""
    try:
        with image.open("rb") as file:
            head = file.read(0x206)
    except OSError as err:
        raise Trouble(f"--kernel {image}: {err.strerror}") from err
    # Documentation/arch/x86/boot.rst: boot_flag and header.
    if head[0x1FE:0x200] != b"\x55\xaa" or head[0x202:0x206] != b"HdrS":
        raise Trouble(f"--kernel {image}: not an x86 kernel image (want a bzImage)")
    return Kernel(image.resolve(), profile, version or str(image), None, cached=True)


def kept(image: Path) -> Path:
    """Return a copy in the cache: it stays what it is if the kernel is built anew meanwhile.

    Raises Trouble.
    """
    try:
        data = image.read_bytes()
    except OSError as err:
        raise Trouble(f"--kernel {image}: {err.strerror}") from err
    key = cache.key_of(data)
    if not cache.entry("given", key):
        with cache.publish("given", key) as staging:
            (staging / "bzImage").write_bytes(data)
        cache.prune("given", keep=4)
    found = cache.entry("given", key)
    if not found:
        raise Trouble(f"the copy of {image} vanished from {cache.root()}")
    return found / "bzImage"


def release(image: Path) -> str:
    """Return what `uname -r` will say on a kernel image; "" if it does not tell."""
    data = image.read_bytes()
    # Documentation/arch/x86/boot.rst: kernel_version, from the end of the first sector.
    start = int.from_bytes(data[0x20E:0x210], "little") + 0x200
    words = data[start : start + 256].split(b"\0", 1)[0].split()
    return words[0].decode(errors="replace") if start > 0x200 and words else ""


def kernel_for(source: Source, profile: str) -> Kernel:
    """Return a built kernel, from the cache if nothing that goes into it changed.

    Raises Trouble.
    """
    fragment = kconfig.fragment(profile)
    inputs = _inputs(profile, fragment)
    if source.key:
        key = cache.key_of(source.key, *inputs)
        if found := cache.entry("kernel", key):
            return _load(found, cached=True)
    name = f"{source.name}-{profile}"
    folder = cache.folder("build", name)
    # One build at a time in one folder; others wait, and then find it published.
    with cache.lock(f"build-{name}") as building:
        if source.key and (found := cache.entry("kernel", key)):
            return _load(found, cached=True)
        cache.need_space(folder, _BUILD_SPACE[profile], f"building the {profile} kernel")
        with source.tree() as (tree, reading):
            say(f"kernel: building {profile} {source.version}")
            started = time.monotonic()
            base = ["make", "-C", str(tree), f"O={folder}"]
            if profile == "cover":
                base += _COVER
            _configure(base, folder, fragment, source, tree)
            log = cache.folder("log") / f"build-{name}.log"
            command = [*base, f"-j{os.cpu_count() or 1}", "bzImage"]
            make.run(command, _REPRODUCIBLE, log, folder / ".zctap-steps", (building, reading))
            say(f"kernel: built in {time.monotonic() - started:.0f} s")
            image = folder / _IMAGE
            if not source.key:
                key = cache.key_of(image, *inputs)
            return _publish(key, image, tree, folder, profile, source)


def _inputs(profile: str, fragment: str) -> list[str]:
    """Return what a kernel depends on beside its source."""
    compiler = run(["gcc", "--version"]).decode().splitlines()[0]
    options = json.dumps(kconfig.parse(fragment))
    inputs = [profile, options, compiler, json.dumps(_REPRODUCIBLE)]
    if profile == "cover":
        inputs += [*_COVER, notes.FORMAT]
    return inputs


def built_key(source: Source, profile: str) -> str | None:
    """Return the key of what was last built of a source; None if nothing was. Builds nothing."""
    if shutil.which("gcc") is None:
        return None
    inputs = _inputs(profile, kconfig.fragment(profile))
    if source.key:
        return cache.key_of(source.key, *inputs)
    image = cache.root() / "build" / f"{source.name}-{profile}" / _IMAGE
    return cache.key_of(image, *inputs) if image.is_file() else None


def _configure(base: list[str], folder: Path, fragment: str, source: Source, tree: Path) -> None:
    """Make .config from the fragment. Raises Trouble for options that did not survive."""
    wanted = folder / "zctap-fragment.config"
    wanted.write_text(fragment)
    run([*base, "-s", "allnoconfig", f"KCONFIG_ALLCONFIG={wanted}"], env=_REPRODUCIBLE)
    lost = kconfig.check(fragment, (folder / ".config").read_text(), tree)
    unknown = [option for option in lost.unknown if option != "CONFIG_IO_URING_ZCTAP"]
    if unknown and not source.reference:
        # Options come and go between versions; what needs them skips.
        say(f"kernel: {source.version} has no {', '.join(unknown)}")
        unknown = []
    problems = [f"{option}: {why}" for option, why in lost.dropped.items()]
    problems += [f"{option}: this kernel has no such option" for option in unknown]
    if problems:
        raise Trouble(f"the config of {source.version} lost {'; '.join(problems)}")


def _publish(
    key: str, image: Path, tree: Path, folder: Path, profile: str, source: Source
) -> Kernel:
    """Put a built kernel into the cache."""
    with cache.publish("kernel", key) as staging:
        shutil.copy2(image, staging / "bzImage")
        shutil.copy2(folder / ".config", staging / "config")
        shutil.copy2(folder / "System.map", staging / "System.map")
        shutil.copy2(tree / "include" / "uapi" / "linux" / "io_uring.h", staging)
        if profile == "cover":
            notes.keep(staging / "gcov", folder, tree, source.pristine)
        about = {
            "profile": profile,
            "version": source.version,
            "build": str(folder),
            "tree": str(tree),
            "vmlinux": _stamp(folder / "vmlinux"),
        }
        (staging / "about.json").write_text(json.dumps(about))
    cache.prune("kernel", keep=12)
    found = cache.entry("kernel", key)
    if not found:
        raise Trouble(f"the kernel vanished from {cache.root()}: is something cleaning it?")
    return _load(found, cached=False)


def _load(found: Path, *, cached: bool) -> Kernel:
    about = json.loads((found / "about.json").read_text())
    return Kernel(
        image=found / "bzImage",
        profile=about["profile"],
        version=about["version"],
        uapi=found / "io_uring.h",
        cached=cached,
        notes=found / "gcov" if (found / "gcov").is_dir() else None,
        symbols=_symbols(found, about),
    )


def _stamp(path: Path) -> list[int]:
    """Return what changes when a file is built again."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _symbols(found: Path, about: dict[str, Any]) -> Symbols | None:
    """Return where a kernel's symbols are, if the build folder still has them."""
    vmlinux, tree = Path(about["build"], "vmlinux"), Path(about.get("tree", ""))
    try:
        if about.get("vmlinux") != _stamp(vmlinux):
            return None
        config = kconfig.parse((found / "config").read_text())
    except OSError:
        return None
    return Symbols(vmlinux, tree) if config.get("CONFIG_DEBUG_INFO") == "y" else None
