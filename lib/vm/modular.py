# SPDX-License-Identifier: GPL-2.0
"""What a modular kernel needs to boot our guest: its modules on a disk, and an initrd.

A distribution's kernel has not even the driver of the disk built in. The initrd has busybox and
the modules up to the root file system; all others are loaded from the disk when the kernel asks
for them, as on any machine.
"""

from __future__ import annotations

import lzma
import shutil
from dataclasses import replace
from pathlib import Path

from lib.say import say
from lib.trouble import Trouble
from lib.vm import apt, cache, kbuild
from lib.vm.command import run
from lib.vm.image import make_ext4
from lib.vm.kbuild import Kernel

# Without these there is no root, no agent and no word of a panic; what is built in costs nothing.
_EARLY = ("virtio_pci", "virtio_blk", "virtio_console", "virtio_rng", "ext4", "pvpanic_pci")
_SPACE = 2 * cache.GIB
_KEEP = 6

# Runs as the first process, with what follows "--" on the kernel's command line: Python's.
_INIT = """\
#!/bin/busybox sh
B=/bin/busybox
$B mount -t devtmpfs dev /dev
for module in /modules/*; do
	$B insmod $module || echo "initrd: cannot load $module"
done
waits=0
until [ -b /dev/vda -a -b /dev/vdc ]; do
	waits=$((waits + 1))
	[ $waits -gt 1000 ] && { echo "initrd: no disk"; exit 1; }
	$B usleep 10000
done
$B mount -t ext4 -o ro /dev/vda /root || exit 1
$B mount -t ext4 -o ro /dev/vdc /root/usr/lib/modules || exit 1
$B mount --move /dev /root/dev
exec $B switch_root /root /usr/bin/python3 "$@"
"""


def with_modules(kernel: Kernel, modules: Path) -> Kernel:
    """Return the kernel with what it needs to load `modules`: .../lib/modules/VERSION, or above it.

    Raises Trouble.
    """
    directory = find(modules)
    release = kbuild.release(kernel.image)
    if release and release != directory.name:
        raise Trouble(f"{kernel.image} is {release}, its modules are for {directory.name}")
    key = cache.key_of(_INIT, *_EARLY, kernel.image, str(directory), _listing(directory))
    with cache.lock("modular"):
        if not cache.entry("modular", key):
            cache.need_space(cache.folder("modular"), _SPACE, "the kernel's modules")
            say(f"kernel: packing the modules of {directory.name}")
            with cache.publish("modular", key) as staging:
                _pack(directory, staging)
            cache.prune("modular", _KEEP)
    found = cache.entry("modular", key)
    if not found:
        raise Trouble(f"the kernel's modules vanished from {cache.root()}")
    return replace(kernel, initrd=found / "initrd", modules=found / "modules.ext4")


def find(given: Path) -> Path:
    """Return the directory of one kernel's modules: `given`, or one below. Raises Trouble."""
    if not given.is_dir():
        raise Trouble(f"--modules {given}: there is no such directory")
    for place in (given, given / "lib" / "modules", given / "usr" / "lib" / "modules"):
        if (place / "kernel").is_dir():
            return place.resolve()
        inside = [path.parent for path in sorted(place.glob("*/kernel")) if path.is_dir()]
        if len(inside) == 1:
            return inside[0].resolve()
        if inside:
            names = ", ".join(path.name for path in inside)
            raise Trouble(f"--modules {given}: of several kernels: {names}; name one")
    raise Trouble(f"--modules {given}: has no modules (want lib/modules/VERSION)")


def _listing(directory: Path) -> str:
    """Return what changes when a module does: building it again gives it another time."""
    lines = []
    # A link may lead nowhere, as weak-updates/ has them of kernels that are gone.
    for path in sorted(path for path in directory.rglob("*.ko*") if path.exists()):
        known = path.stat()
        lines.append(f"{path.relative_to(directory)} {known.st_size} {known.st_mtime_ns}")
    return "\n".join(lines)


def _pack(directory: Path, staging: Path) -> None:
    """Write modules.ext4 and initrd."""
    # A copy, as depmod writes to it. Links of a build tree lead nowhere in a guest.
    base = staging / "base"
    copy = base / "lib" / "modules" / directory.name
    ignored = shutil.ignore_patterns("build", "source")
    try:
        shutil.copytree(directory, copy, ignore=ignored, symlinks=True)
    except shutil.Error as err:
        _, _, why = err.args[0][0]
        raise Trouble(f"cannot copy the modules of {directory.name}: {why}") from err
    run(["depmod", "-b", base, directory.name])
    make_ext4(base / "lib" / "modules", staging / "modules.ext4")
    _make_initrd(base, directory.name, staging)
    shutil.rmtree(base)


def _make_initrd(base: Path, version: str, staging: Path) -> None:
    """Write an initramfs: a cpio archive of busybox, some modules and our init."""
    tree = staging / "tree"
    for name in ("bin", "dev", "root", "modules"):
        (tree / name).mkdir(parents=True)
    _fetch_busybox(staging, tree / "bin" / "busybox")
    # In the order in which they can be loaded.
    for number, module in enumerate(_early(base, version)):
        name = module.name.split(".ko", 1)[0]
        (tree / "modules" / f"{number:02}-{name}.ko").write_bytes(_content(module))
    init = tree / "init"
    init.write_text(_INIT)
    init.chmod(0o755)
    names = sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))
    listing = "\n".join(names).encode() + b"\n"
    words = ["cpio", "--quiet", "-o", "-H", "newc", "-R", "+0:+0"]
    archive = run(words, cwd=tree, stdin=listing)
    (staging / "initrd").write_bytes(archive)
    shutil.rmtree(tree)


def _early(base: Path, version: str) -> list[Path]:
    """Return the files of the early modules, what they need before them."""
    found: list[Path] = []
    for name in _EARLY:
        words = ["modprobe", "-d", str(base), "-S", version, "--show-depends", name]
        try:
            lines = run(words).decode().splitlines()
        except Trouble:
            # This kernel has none; if it was needed the boot will tell.
            continue
        files = [Path(line.split()[1]) for line in lines if line.startswith("insmod ")]
        found += [file for file in files if file not in found]
    return found


def _content(module: Path) -> bytes:
    """Return a module as busybox can load it."""
    data = module.read_bytes()
    if module.suffix == ".xz":
        return lzma.decompress(data)
    if module.suffix == ".zst":
        return run(["zstd", "-q", "-d", "-c", module])
    if module.suffix == ".gz":
        return run(["gzip", "-d", "-c", module])
    return data


def _fetch_busybox(staging: Path, target: Path) -> None:
    """Copy Debian's static busybox."""
    archives, tree = staging / "archives", staging / "busybox"
    archives.mkdir()
    package = apt.fetch(["busybox-static"], archives, dependencies=False)[0]
    run(["dpkg-deb", "-x", package, tree])
    places = (tree / "usr" / "bin" / "busybox", tree / "bin" / "busybox")
    shutil.copy2(next(path for path in places if path.is_file()), target)
    shutil.rmtree(archives)
    shutil.rmtree(tree)
