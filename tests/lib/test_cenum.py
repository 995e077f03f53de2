# SPDX-License-Identifier: GPL-2.0
"""Enumerators of a C header."""

import pytest

from lib.cenum import enumerators

HEADER = """
#define A 7 /* not an enumerator */
#define LONG \\
	enum { FAKE }
enum first {
	A,		/* zero, B */
	B,		// one
	C = 0x10,
	D,
#ifdef SOMETHING
	E = 1U << 3,
	F,
#endif
	G = D,
	H
};
struct s { enum { IN_STRUCT = -2, NEXT } field; };
"""


@pytest.mark.parametrize(
    ("name", "value"),
    [("A", 0), ("B", 1), ("C", 16), ("D", 17), ("G", 17), ("H", 18), ("NEXT", -1)],
)
def test_values(name: str, value: int) -> None:
    assert enumerators(HEADER, {name}) == {name: value}


@pytest.mark.parametrize("name", ["E", "F", "FAKE", "SOMETHING", "missing"])
def test_what_cannot_be_told_is_left_out(name: str) -> None:
    assert enumerators(HEADER, {name}) == {}
