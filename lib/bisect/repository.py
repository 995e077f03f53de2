# SPDX-License-Identifier: GPL-2.0
"""A clone of the user's repository in which `git bisect` checks out what it likes."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lib.trouble import Trouble
from lib.vm.command import run

_FIRST = re.compile(r"^([0-9a-f]{40,}) is the first bad commit", flags=re.MULTILINE)
_SKIPPED = "only 'skip'ped commits left"
_LEFT = re.compile(r"\(roughly (\d+) steps?\)")


@dataclass(frozen=True)
class Progress:
    """What git made of a verdict: a commit found, or some that it may be, or steps left."""

    first_bad: str | None = None
    candidates: tuple[str, ...] = ()
    steps_left: int = 0

    @property
    def over(self) -> bool:
        """Whether there is nothing left to test."""
        return bool(self.first_bad or self.candidates)


def progress(said: str) -> Progress:
    """Read what `git bisect` printed."""
    if found := _FIRST.search(said):
        return Progress(first_bad=found[1])
    if _SKIPPED in said:
        # One a line, after "The first bad commit could be any of:".
        return Progress(candidates=tuple(re.findall(r"^([0-9a-f]{40,})$", said, re.MULTILINE)))
    left = _LEFT.search(said)
    return Progress(steps_left=int(left[1]) if left else 0)


def resolve(repository: Path, name: str) -> str:
    """Return the id of a commit of the user's repository. Raises Trouble."""
    try:
        words = [
            "git",
            "-C",
            str(repository),
            "rev-parse",
            "--verify",
            "--quiet",
            f"{name}^{{commit}}",
        ]
        return run(words).decode().strip()
    except Trouble as err:
        raise Trouble(f"no such commit in {repository}: {name}") from err


def is_ancestor(repository: Path, old: str, new: str) -> bool:
    """Whether commit `new` has `old` in its history."""
    words = ["git", "-C", str(repository), "merge-base", "--is-ancestor", old, new]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


class Clone:
    """The clone: it borrows the user's objects, and nothing is written to theirs."""

    def __init__(self, path: Path, origin: Path) -> None:
        """Open it, or make it. Raises Trouble."""
        self.path = path
        if not (path / ".git" / "HEAD").is_file():
            # Half of a clone would pass for one.
            new = path.with_name(f"{path.name}.new")
            shutil.rmtree(new, ignore_errors=True)
            # A hook of the user's templates has no business here.
            run(["git", "clone", "-q", "--shared", "--no-checkout", "--template=", origin, new])
            new.rename(path)
        # Of a git that was killed: nobody else works here, as whoever does holds a lock.
        (path / ".git" / "index.lock").unlink(missing_ok=True)

    def _git(self, *words: str) -> str:
        return run(["git", "-C", self.path, *words], deadline=1800).decode(errors="replace")

    @property
    def under_way(self) -> bool:
        """Whether a bisection has begun and not ended."""
        return (self.path / ".git" / "BISECT_START").is_file()

    def check_out(self, commit: str) -> None:
        """Make the tree that of a commit. Raises Trouble."""
        self._git("checkout", "-q", "--force", "--detach", commit)

    def start(self, good: str, bad: str) -> Progress:
        """Begin a bisection. Raises Trouble."""
        return progress(self._git("bisect", "start", bad, good))

    def mark(self, word: str, commit: str = "HEAD") -> Progress:
        """Say "good", "bad" or "skip" of a commit. Raises Trouble."""
        words = ["git", "-C", str(self.path), "bisect", word, commit]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        found = progress(done.stdout)
        # With nothing but skipped commits left git exits with 2, though all went well.
        if done.returncode and not found.over:
            raise Trouble(f"git bisect {word}: {done.stderr.strip().splitlines()[-1:]}")
        return found

    def head(self) -> str:
        """Return the id of the commit that is checked out."""
        return self._git("rev-parse", "HEAD").strip()

    def title(self, commit: str) -> str:
        """Return a commit's short id and subject."""
        return self._git("log", "-1", "--format=%h %s", commit).strip()

    def show(self, commit: str) -> str:
        """Return a commit's message and the files that it changes."""
        return self._git("show", "--stat", "--format=medium", commit)

    def log(self) -> str:
        """Return what `git bisect replay` takes."""
        return self._git("bisect", "log")

    def reset(self) -> None:
        """Forget the bisection."""
        if self.under_way:
            self._git("bisect", "reset", "HEAD")
