# SPDX-License-Identifier: GPL-2.0
"""Numbers as people write them on a command line. ValueError for anything else."""


def size(text: str) -> int:
    """Return a number of bytes as people write it. Raises ValueError for anything else."""
    unit = {"K": 10, "M": 20, "G": 30}.get(text[-1:].upper())
    number = int(text if unit is None else text[:-1]) << (unit or 0)
    if number <= 0:
        raise ValueError(text)
    return number


def count(text: str) -> int:
    """Return a number of things, one at least. Raises ValueError."""
    number = int(text)
    if number <= 0:
        raise ValueError(text)
    return number


def counts(text: str) -> tuple[int, ...]:
    """Return numbers with commas between them. Raises ValueError."""
    return tuple(map(count, text.split(",")))


def sizes(text: str) -> tuple[int, ...]:
    """Return sizes with commas between them. Raises ValueError."""
    return tuple(map(size, text.split(",")))
