#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Check the series patch by patch: checkpatch, a build after each, sparse at the end.

Usage: kernel/check_series.py LINUX, an unpacked linux-source-6.1. It is copied (1.3 GB) to a
temporary folder. Needs git, gcc, make, flex, bison, bc, libelf-dev and sparse.
Exit status: 0 clean, 1 something was found, 2 bad usage.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
SERIES = sorted((HERE / "zctap").glob("*.patch"))
CONFIGS = [HERE / "configs" / f"{name}.config" for name in ("base", "plain")]
# What the series touches; a directory is all that is configured in it.
OBJECTS = [
    "io_uring/",
    "net/core/dev.o",
    "net/core/skbuff.o",
    "net/core/skmsg.o",
    "net/core/gro.o",
    "net/ipv4/tcp.o",
    "net/ipv4/tcp_input.o",
    "drivers/net/veth.o",
]
_TOUCHED = re.compile(r"^\+\+\+ b/(\S+)", flags=re.MULTILINE)
_PLACE = re.compile(r"^.*?/linux/|:\d+(?::\d+)?(?=:)")


def run(*argv: str, cwd: Path) -> tuple[bool, str]:
    """Run a command; return whether it succeeded, and all that it wrote."""
    done = subprocess.run(
        argv, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.returncode == 0, done.stdout


def build(tree: Path, out: Path, *more: str, zctap: bool | None = True) -> str:
    """Configure and build the objects; return what there is to say, "" if nothing.

    `zctap` is None for a tree that has no such option.
    """
    out.mkdir(exist_ok=True)
    config = out / "fragment"
    text = "".join(path.read_text() for path in CONFIGS)
    if zctap is not None:
        text += f"CONFIG_IO_URING_ZCTAP={'y' if zctap else 'n'}\n"
    config.write_text(text)
    make = ["make", "-s", f"O={out}", f"-j{os.cpu_count()}"]
    ok, said = run(*make, "allnoconfig", f"KCONFIG_ALLCONFIG={config}", cwd=tree)
    if ok:
        ok, said = run(*make, "KCFLAGS=-Werror", *more, *OBJECTS, cwd=tree)
    complaints = [line for line in said.splitlines() if "warning:" in line or "error:" in line]
    return "\n".join(complaints) or ("" if ok else said[-2000:])


def news(before: str, after: str) -> str:
    """Return the complaints that there were not before, wherever their lines are by now.

    Of a file that the series leaves alone they are its own, however many files include it.
    """
    known = Counter(_PLACE.sub("", line) for line in before.splitlines())
    touched = {path for patch in SERIES for path in _TOUCHED.findall(patch.read_text())}
    new = []
    for line in after.splitlines():
        what = _PLACE.sub("", line)
        known[what] -= what.split(":", 1)[0] in touched or what not in known
        if known[what] < 0:
            new.append(line)
    return "\n".join(new)


def undefined(out: Path) -> str:
    """Return the zctap symbols that objects built without zctap still want."""
    users = ["drivers/net/veth.o", "net/core/dev.o", "net/core/skbuff.o"]
    _, said = run("nm", "-u", *users, cwd=out)
    return "\n".join(line for line in said.splitlines() if "io_zctap" in line)


def report(what: str, complaints: str) -> int:
    """Print a line for a step; return the number of failures."""
    print(f"{'not ok' if complaints else 'ok'} - {what}", flush=True)
    for line in complaints.splitlines():
        print(f"  # {line}", flush=True)
    return 1 if complaints else 0


def check(source: Path, work: Path) -> int:
    """Check the whole series in `work`; return the number of failures."""
    tree, bad = work / "linux", 0
    shutil.copytree(source, tree, symlinks=True, ignore=shutil.ignore_patterns(".git"))
    # 6.1 itself is not clean under sparse.
    before = build(tree, work / "out", "C=2", zctap=None)
    for patch in SERIES:
        # checkpatch first: it looks up files that the patch adds.
        _, said = run("scripts/checkpatch.pl", "--strict", "--quiet", str(patch), cwd=tree)
        ok, applied = run("git", "apply", str(patch), cwd=tree)
        said += "" if ok else applied
        bad += report(f"{patch.name}: checkpatch", said.strip())
        bad += report(f"{patch.name}: builds", build(tree, work / "out"))
    bad += report("sparse", news(before, build(tree, work / "out", "C=2")))
    bad += report("builds without zctap", build(tree, work / "without", zctap=False))
    bad += report("needs nothing of zctap without it", undefined(work / "without"))
    return bad


def main() -> int:
    """Run, and return the exit status."""
    if len(sys.argv) != 2 or not Path(sys.argv[1], "scripts/checkpatch.pl").is_file():
        print("usage: kernel/check_series.py LINUX: an unpacked linux-source-6.1", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="zctap-series-") as work:
        return 1 if check(Path(sys.argv[1]), Path(work)) else 0


if __name__ == "__main__":
    sys.exit(main())
