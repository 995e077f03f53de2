# SPDX-License-Identifier: GPL-2.0
"""The card that a run is to test, as pytest is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lib.run.nic_options import Nic


@dataclass(frozen=True)
class Tested:
    """A card, in words; and the variables that name it, see fixtures/cards.py."""

    words: str
    variables: Mapping[str, str]


def switches(wanted: Nic) -> dict[str, str]:
    """Return the variables of what goes with a card on the command line."""
    names = {"ZCTAP_I_KNOW": wanted.i_know, "ZCTAP_FORCE": wanted.force}
    return {name: "1" for name, on in names.items() if on}
