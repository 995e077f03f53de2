# SPDX-License-Identifier: GPL-2.0
"""The guest's root file system: Debian's packages, unpacked and not installed.

The guest has one process of ours as its init and is never upgraded, so that nothing is
gained by running maintainer scripts. Without them there is no chroot, no mount and no need
for root, and nothing to clean up when it fails.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from lib.say import say
from lib.trouble import Trouble
from lib.vm import apt, cache
from lib.vm.command import run

# kmod loads what a modular kernel asks for. bash and what is with it are for `run_tests.py shell`,
# and for whoever debugs there.
PACKAGES = ["python3", "iproute2", "ethtool", "kmod"]
PACKAGES += ["bash", "coreutils", "procps", "util-linux"]
# For a card whose other end is another guest.
PACKAGES += ["openssh-client", "openssh-server"]
REQUIREMENTS = Path(__file__).resolve().parents[1] / "setup" / "guest.txt"

_SITE = "usr/lib/python3/dist-packages"
# Where the kernel mounts or the agent does; the root itself is read-only.
_MOUNT_POINTS = ("dev", "proc", "sys", "run", "tmp", "suite", "root", "mnt", "usr/lib/modules")
# Of no use to a guest; a third of the size.
_NEEDLESS = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info")
_USERS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/:/bin/false\n"
    "sshd:x:100:65534::/run/sshd:/bin/false\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/hosts": "127.0.0.1 localhost zctap\n::1 localhost\n",
    "etc/hostname": "zctap\n",
}
_SPACE = 2 * cache.GIB


def image() -> Path:
    """Return the root file system (ext4, read-only), made if need be. Raises Trouble."""
    key = cache.key_of(Path(__file__), REQUIREMENTS, _distribution())
    if found := cache.entry("image", key):
        return found / "root.ext4"
    with cache.lock("image"):
        if found := cache.entry("image", key):
            return found / "root.ext4"
        return _build(key)


def _distribution() -> str:
    """Return what the packages are packages of."""
    try:
        return Path("/etc/os-release").read_text()
    except OSError:
        return "unknown"


def _build(key: str) -> Path:
    cache.need_space(cache.folder("image"), _SPACE, "the guest's image")
    say("image: building the guest's root file system")
    started = time.monotonic()
    with cache.publish("image", key) as staging:
        root = staging / "root"
        archives = staging / "archives"
        archives.mkdir()
        packages = apt.fetch(PACKAGES, archives, dependencies=True)
        _unpack(packages, root)
        _install_python_packages(root)
        _compile(root)
        target = staging / "root.ext4"
        make_ext4(root, target)
        size = target.stat().st_blocks * 512
        shutil.rmtree(root)
        shutil.rmtree(archives)
    cache.prune("image", keep=2)
    found = cache.entry("image", key)
    if not found:
        raise Trouble(f"the guest's image vanished from {cache.root()}")
    say(f"image: built in {time.monotonic() - started:.0f} s, {size >> 20} MiB")
    return found / "root.ext4"


def _unpack(packages: list[Path], root: Path) -> None:
    """Unpack packages into `root`, with /bin, /lib and so on merged into /usr."""
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(f"usr/{name}")
    exclude = [f"--exclude=./{path}/*" for path in _NEEDLESS]
    for package in packages:
        with subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE
        ) as unpacker:
            # No devices, no owners: works without root, and in any container.
            tar = ["tar", "-x", "-C", str(root), "--keep-directory-symlink", "--no-same-owner"]
            done = subprocess.run(
                [*tar, *exclude], stdin=unpacker.stdout, capture_output=True, check=False
            )
        if done.returncode or unpacker.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise Trouble(f"cannot unpack {package.name}: {said}")
    for name in _MOUNT_POINTS:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name, content in _USERS.items():
        (root / name).write_text(content)


def _install_python_packages(root: Path) -> None:
    """Put the pinned Python packages where Debian's interpreter looks for them."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps"]
    command += ["--disable-pip-version-check", "--only-binary", ":all:"]
    command += ["--target", str(root / _SITE), "-r", str(REQUIREMENTS)]
    run(command)


def _compile(root: Path) -> None:
    """Byte-compile everything, with the guest's interpreter: imports cost a third then.

    unchecked-hash: the guest trusts the .pyc files and does not even look at the sources.
    """
    loader = next((root / "lib64").glob("ld-linux-*.so.*"), None)
    if not loader:
        raise Trouble("the guest's image has no dynamic loader: did libc6 move?")
    # The guest's interpreter runs in place, on the guest's libraries: no chroot.
    libraries = root / "usr/lib/x86_64-linux-gnu"
    command: list[str | Path] = [loader, "--library-path", libraries, root / "usr/bin/python3"]
    command += ["-m", "compileall", "-q", "-f", f"-j{os.cpu_count() or 1}"]
    command += ["--invalidation-mode", "unchecked-hash", "-s", root, "-p", "/"]
    command += [root / "usr/lib/python3", *(root / "usr/lib").glob("python3.*")]
    environment = {"PYTHONHOME": str(root / "usr"), "PYTHONPATH": "", "PYTHONNOUSERSITE": "1"}
    try:
        run([*command, "-x", r"/(test|tests|lib2to3)/"], env=environment)
    except Trouble as err:
        raise Trouble(f"cannot byte-compile the guest's Python: {err}") from err


def make_ext4(root: Path, target: Path) -> None:
    """Make a file system that holds `root` and little more; mounted read-only, ever."""
    used = sum(path.lstat().st_blocks for path in root.rglob("*")) * 512
    size = used + used // 4 + (32 << 20)
    with target.open("wb") as file:
        file.truncate(size)
    tool = shutil.which("mkfs.ext4") or "/sbin/mkfs.ext4"
    features = "^has_journal,^resize_inode,^metadata_csum"
    run([tool, "-q", "-F", "-m", "0", "-O", features, "-E", "root_owner=0:0", "-d", root, target])
