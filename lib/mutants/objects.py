# SPDX-License-Identifier: GPL-2.0
"""What the compiler makes of a change: nothing, the same as without it, or something else."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from lib.mutants.catalogue import Mutant
from lib.mutants.schemata import rewritten
from lib.trouble import Trouble
from lib.vm import cache


class Objects:
    """Compiles single files as they were compiled in a folder of kbuild's."""

    def __init__(self, build: Path, tree: Path) -> None:
        self._build = build
        self._tree = tree
        self._plain: dict[str, bytes] = {}

    def differs(self, mutant: Mutant, source: str) -> bool:
        """Whether a mutant of one change compiles, alone and beside others, to another object.

        Raises Trouble if the source does not without it.
        """
        (change,) = mutant.changes
        plain = self._plain.get(change.file) or self._compiled(change.file, source)
        if plain is None:
            raise Trouble(f"{change.file} does not compile as it is")
        self._plain[change.file] = plain
        start = len(source.encode()[: change.at].decode())
        end = start + len(change.old)
        # As many lines as before: a warning has the number of its own.
        lines = "\n" * (change.old.count("\n") - change.new.count("\n"))
        alone = self._compiled(change.file, source[:start] + change.new + lines + source[end:])
        if alone is None or alone == plain:
            return False
        return self._compiled(change.file, rewritten(source, [(mutant, change)])) is not None

    def _compiled(self, file: str, source: str) -> bytes | None:
        """Return the object; None if there is none."""
        with cache.scratch() as name:
            # The name goes into the object: the same for all that are compared.
            path = Path(name, Path(file).name)
            path.write_text(source)
            done = subprocess.run(
                [*self._command(file), "-o", f"{path}.o", str(path)],
                cwd=self._build,
                capture_output=True,
                check=False,
            )
            if done.returncode:
                return None
            return Path(f"{path}.o").read_bytes().replace(name.encode(), b"")

    def _command(self, file: str) -> list[str]:
        """Return how a file was compiled, but for its name and the object's. Raises Trouble."""
        path = Path(self._build, file)
        notes = path.with_name(f".{path.stem}.o.cmd")
        try:
            line = notes.read_text().split(":=", 1)[1].splitlines()[0]
        except (OSError, IndexError) as err:
            raise Trouble(f"{notes}: cannot be read; remove {self._build}") from err
        words = shlex.split(line.split(" ; ")[0])
        output = words.index("-o")
        where = str((self._tree / file).parent)
        flags = [*words[:output], *words[output + 2 : -1]]
        return [*(word for word in flags if not word.startswith("-Wp,-M")), "-iquote", where]
