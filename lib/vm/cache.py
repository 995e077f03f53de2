# SPDX-License-Identifier: GPL-2.0
"""The cache: keys made of content, entries published whole, locks, disk space.

<root>/source/NAME      unpacked kernel sources, kept from run to run
<root>/build/NAME       out-of-tree build folders, kept from run to run
<root>/kernel/KEY       published: bzImage and what belongs to it
<root>/given/KEY        published: a copy of a kernel that somebody else built
<root>/image/KEY        published: the guest's root file system
<root>/debian/KEY       published: a kernel package of Debian's, unpacked
<root>/modular/KEY      published: the initrd and the modules' disk for such a kernel
<root>/warm/KEY         published: the state of a warm guest
<root>/log              console and build logs, the latest few
<root>/nic              journals of what has been changed on network cards, see docs/nic.md
<root>/tmp              entries in the making; swept at the next start
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lib.cachedir import folder, root
from lib.say import say
from lib.trouble import Trouble

__all__ = ["GIB", "entry", "folder", "key_of", "lock", "mine", "need_space", "prune"]
__all__ += ["publish", "root", "scratch", "sweep", "used"]

GIB = 1 << 30
_ABANDONED = 7 * 86400.0  # s


def key_of(*parts: str | bytes | Path) -> str:
    """Return a key of 20 hex digits for what went in.

    A Path stands for the file's content. Each part is hashed with its length, so
    that ("ab", "c") and ("a", "bc") differ.
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            data = part.read_bytes()
        else:
            data = part.encode() if isinstance(part, str) else part
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()[:20]


def need_space(path: Path, size: int, what: str) -> None:
    """Raise Trouble unless `size` bytes are free where `path` is."""
    free = shutil.disk_usage(path).free
    if free < size:
        raise Trouble(
            f"{what} needs {size / GIB:.1f} GiB in {path}, {free / GIB:.1f} GiB are free:"
            " free some, or point XDG_CACHE_HOME elsewhere"
        )


def entry(kind: str, key: str) -> Path | None:
    """Return a published entry, or None. Its time of use is noted for `prune`."""
    path = root() / kind / key
    if not path.is_dir():
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    return path


def used(file: Path) -> None:
    """Note for `prune` that an entry is in use, by a file in it; other people's files are not."""
    if file.parent.parent.parent == root():
        entry(file.parent.parent.name, file.parent.name)


@contextlib.contextmanager
def publish(kind: str, key: str) -> Iterator[Path]:
    """Give an empty directory to fill; on a clean exit it becomes the entry.

    On an exception nothing is left. If somebody else published the same key in the
    meantime theirs stays: same key, same content. Raises Trouble when the disk fills up.
    """
    target = folder(kind) / key
    # mkdtemp's name ends up in no entry; sweep() judges by it.
    staging = Path(tempfile.mkdtemp(prefix=f"{_owner()}-", dir=folder("tmp")))
    try:
        yield staging
        staging.chmod(0o755)
        try:
            staging.rename(target)
        except OSError as err:
            if err.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
    except OSError as err:
        if err.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Trouble(f"no space left in {root()}: free some, or set XDG_CACHE_HOME") from err
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def scratch() -> tempfile.TemporaryDirectory[str]:
    """Return a directory for a while; should this process be killed, sweep() removes it."""
    return tempfile.TemporaryDirectory(prefix=f"{_owner()}-", dir=folder("tmp"))


def _place() -> str:
    """Return what a pid is one of: a machine, or a container. A home may be shared by several."""
    namespace = ""
    with contextlib.suppress(OSError):  # a kernel without them
        namespace = os.readlink("/proc/self/ns/pid")
    return key_of(os.uname().nodename, namespace)[:8]


def _owner() -> str:
    return f"{os.getpid()}-{_place()}"


def mine(what: str) -> Path:
    """Return a name in tmp/ for what this process makes there; sweep() may remove it later."""
    return folder("tmp") / f"{_owner()}-{what}"


def sweep() -> None:
    """Remove what killed runs left in tmp/: directories whose owner is gone.

    That is known of those of this machine. Others', and those of containers that are no more,
    go when no run can have been at them for so long.
    """
    tmp = root() / "tmp"
    if not tmp.is_dir():
        return
    for path in tmp.iterdir():
        pid, _, rest = path.name.partition("-")
        if not pid.isdigit() or Path("/proc", pid).exists():
            continue
        with contextlib.suppress(FileNotFoundError):
            old = path.stat().st_mtime < time.time() - _ABANDONED
            if old or rest.startswith(f"{_place()}-"):
                shutil.rmtree(path, ignore_errors=True)


def prune(kind: str, keep: int, spare: Callable[[Path], bool] = lambda _path: False) -> None:
    """Keep the `keep` entries or files of `kind` that were used last, and those to `spare`."""
    where = root() / kind
    if not where.is_dir():
        return
    used = {}
    for path in where.iterdir():
        # Others prune, too: guests are started side by side.
        with contextlib.suppress(FileNotFoundError):
            time_of_use = path.stat().st_mtime
            # Of the future, by a clock that has been set back: it would outlive all that is new.
            used[path] = time_of_use if time_of_use < time.time() + 60 else 0.0
    for path in sorted(used, key=lambda path: (used[path], path.name), reverse=True)[keep:]:
        if spare(path):
            continue
        if path.is_dir():
            _remove(path)
        else:
            path.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    """Remove an entry as a whole: nobody finds half of one, should this process be killed."""
    with contextlib.suppress(OSError), scratch() as aside:
        path.rename(Path(aside, path.name))


@contextlib.contextmanager
def lock(name: str, *, shared: bool = False) -> Iterator[int]:
    """Hold the lock `name` against other processes; wait for it without limit.

    Any number may hold it `shared`, while nobody holds it alone.

    Gives its descriptor, for children that have to hold it, too. The kernel drops it when
    all its holders are gone, so that no stale lock can remain.
    """
    path = folder("lock") / f"{name}.lock"
    with path.open("w") as file:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another run that uses {name}")
            fcntl.flock(file, kind)
        yield file.fileno()
