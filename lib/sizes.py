# SPDX-License-Identifier: GPL-2.0
"""Numbers of bytes as people read them."""

_UNITS = ("bytes", "KiB", "MiB", "GiB")


def size_of(count: float) -> str:
    """With a unit, and one digit behind the point if that is not 0."""
    at = 0
    while count >= 1024 and at + 1 < len(_UNITS):
        count, at = count / 1024, at + 1
    return f"{count:.1f} {_UNITS[at]}".replace(".0 ", " ")
