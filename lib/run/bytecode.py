# SPDX-License-Identifier: GPL-2.0
"""Compiled modules of the suite, kept from one guest to the next.

Under TCG, compiling the suite and rewriting its assertions takes longer than running much of
it. The guest does it once, and gives what it made back to the host, which sends it along
from then on: by what was compiled, so that an edited file is compiled anew, and only that.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath

from lib.vm import cache

_KIND = "bytecode"
_KEEP = 1000


class Bytecode:
    """The compiled modules for guests of one image."""

    def __init__(self, image: str) -> None:
        """`image` stands for the interpreter and the pytest that made them."""
        self._image = image
        self._keys: dict[str, str] = {}
        self._sent: set[str] = set()

    def known(self, name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
        """Give path and content of what was compiled from a file, and remember the file."""
        path = PurePosixPath(name)
        if path.suffix != ".py":
            return
        self._keys[name] = cache.key_of(self._image, name, content)
        entry = cache.entry(_KIND, self._keys[name])
        if entry:
            for compiled in entry.iterdir():
                place = str(path.parent / "__pycache__" / compiled.name)
                self._sent.add(place)
                yield place, compiled.read_bytes()

    def keep(self, archive: bytes) -> None:
        """Store what a guest compiled: a tar archive of __pycache__ directories."""
        made: dict[str, dict[str, bytes]] = {}
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                # test_x.cpython-311-pytest-9.2.0.pyc
                source = str(path.parent.parent / (path.name.split(".", 1)[0] + ".py"))
                file = tar.extractfile(member)
                if file and source in self._keys and member.name not in self._sent:
                    made.setdefault(source, {})[path.name] = file.read()
        for source, files in made.items():
            with cache.publish(_KIND, self._keys[source]) as staging:
                for name, content in files.items():
                    (staging / name).write_bytes(content)
        if made:
            cache.prune(_KIND, _KEEP)
