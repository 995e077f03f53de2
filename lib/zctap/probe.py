# SPDX-License-Identifier: GPL-2.0
"""Does this kernel have zctap, and with which numbers?

The numbers differ from tree to tree, and on kernels without zctap they mean other operations. So
everything that issues one takes it from a Zctap, and only probe() makes one: from the uapi header
of the tree that the running kernel was built from (named by the environment variable ZCTAP_UAPI),
from the running kernel's BTF, or, where neither says, on the strength of debugfs `zctap/version`.
"""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lib import btf as btf_reader
from lib import cenum

BTF = Path("/sys/kernel/btf/vmlinux")
DEBUGFS = Path("/sys/kernel/debug/zctap")

_RECV_ZC, _REGISTER = "IORING_OP_RECV_ZC", "IORING_REGISTER_IFQ"
_UNREGISTER = "IORING_UNREGISTER_IFQ"
# docs/contract.md, "Numbers and layouts": the reference kernel's, on a 6.1 base.
_TABLE = {_RECV_ZC: 49, _REGISTER: 26, _UNREGISTER: 27}


NO_ZCTAP = "no zctap in this kernel"


class NoZctap(Exception):
    """This kernel has no zctap; the text says why that is known."""


@dataclass(frozen=True)
class Zctap:
    """The numbers of a kernel that has it. unregister_ifq None: it only unregisters at exit."""

    recv_zc: int
    register_ifq: int
    unregister_ifq: int | None
    source: str


def _named(found: dict[str, int], source: str) -> Zctap | None:
    # Both, or nothing: mainline's zcrx has an IORING_OP_RECV_ZC too.
    if _RECV_ZC in found and _REGISTER in found:
        return Zctap(found[_RECV_ZC], found[_REGISTER], found.get(_UNREGISTER), source)
    return None


def _from_header(header: Path) -> tuple[Zctap | None, str]:
    try:
        text = header.read_text()
    except OSError as error:
        return None, f"{header}: {error.strerror}"
    zctap = _named(cenum.enumerators(text, set(_TABLE)), "the kernel's uapi header")
    return zctap, f"its uapi header does not name {_RECV_ZC} together with {_REGISTER}"


def _from_btf(btf: Path) -> tuple[Zctap | None, str]:
    try:
        data = btf.read_bytes()
    except FileNotFoundError:
        return None, "it has no BTF"
    except OSError as error:
        return None, f"its BTF cannot be read ({error.strerror})"
    try:
        found = btf_reader.enumerators(data, set(_TABLE))
    except ValueError as error:
        return None, f"its BTF cannot be read ({error})"
    zctap = _named(found, "the kernel's BTF")
    return zctap, f"its BTF does not name {_RECV_ZC} together with {_REGISTER}"


def look(header: Path | None = None, btf: Path = BTF, debugfs: Path = DEBUGFS) -> Zctap:
    """What probe() does, on files of one's choice. Raises NoZctap."""
    reasons = []
    for zctap, why_not in ((_from_header(header),) if header else ()) + (_from_btf(btf),):
        if zctap:
            return zctap
        reasons.append(why_not)
    try:
        version = (debugfs / "version").read_text().strip()
    except OSError as error:
        reasons.append(f"{debugfs}/version: {error.strerror}")
        raise NoZctap(f"{NO_ZCTAP}: {'; '.join(reasons)}") from None
    return Zctap(
        _TABLE[_RECV_ZC],
        _TABLE[_REGISTER],
        _TABLE[_UNREGISTER],
        f"the table for 6.1, as debugfs has zctap (version {version}) and {'; '.join(reasons)}",
    )


@cache
def _probe() -> Zctap | str:
    header = os.environ.get("ZCTAP_UAPI")
    try:
        return look(Path(header) if header else None)
    except NoZctap as error:
        return str(error)


def probe() -> Zctap:
    """The running kernel's zctap, looked up once in a process. Raises NoZctap."""
    result = _probe()
    if isinstance(result, str):
        raise NoZctap(result)
    return result
