# SPDX-License-Identifier: GPL-2.0
"""Does this kernel have zctap, and with which numbers?

The numbers differ from tree to tree, and on kernels without zctap they mean other operations. So
everything that issues one takes it from a Zctap, and only probe() makes one: from the running
kernel's BTF, or, where there is none, on the strength of debugfs `zctap/version`.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lib.btf import enumerators

BTF = Path("/sys/kernel/btf/vmlinux")
DEBUGFS = Path("/sys/kernel/debug/zctap")

_RECV_ZC, _REGISTER = "IORING_OP_RECV_ZC", "IORING_REGISTER_IFQ"
_UNREGISTER = "IORING_UNREGISTER_IFQ"
# docs/contract.md, "Numbers and layouts": the reference kernel's, on a 6.1 base.
_TABLE = {_RECV_ZC: 49, _REGISTER: 26, _UNREGISTER: 27}


class NoZctap(Exception):
    """This kernel has no zctap; the text says why that is known."""


@dataclass(frozen=True)
class Zctap:
    """The numbers of a kernel that has it. unregister_ifq None: it only unregisters at exit."""

    recv_zc: int
    register_ifq: int
    unregister_ifq: int | None
    source: str


def _from_btf(btf: Path) -> tuple[Zctap | None, str]:
    try:
        data = btf.read_bytes()
    except FileNotFoundError:
        return None, "the kernel has no BTF"
    except OSError as error:
        return None, f"its BTF cannot be read ({error.strerror})"
    try:
        found = enumerators(data, set(_TABLE))
    except ValueError as error:
        return None, f"its BTF cannot be read ({error})"
    # Both, or nothing: mainline's zcrx has an IORING_OP_RECV_ZC too.
    if _RECV_ZC in found and _REGISTER in found:
        zctap = Zctap(found[_RECV_ZC], found[_REGISTER], found.get(_UNREGISTER), "BTF")
        return zctap, ""
    return None, f"its BTF does not name {_RECV_ZC} together with {_REGISTER}"


def look(btf: Path = BTF, debugfs: Path = DEBUGFS) -> Zctap:
    """What probe() does, on files of one's choice. Raises NoZctap."""
    zctap, why_not = _from_btf(btf)
    if zctap:
        return zctap
    try:
        version = (debugfs / "version").read_text().strip()
    except OSError as error:
        reason = f"{debugfs}/version: {error.strerror}"
        raise NoZctap(f"no zctap in this kernel: {why_not}; {reason}") from None
    return Zctap(
        _TABLE[_RECV_ZC],
        _TABLE[_REGISTER],
        _TABLE[_UNREGISTER],
        f"the table for 6.1, as {why_not} and debugfs has zctap (version {version})",
    )


@cache
def _probe() -> Zctap | str:
    try:
        return look()
    except NoZctap as error:
        return str(error)


def probe() -> Zctap:
    """The running kernel's zctap, looked up once in a process. Raises NoZctap."""
    result = _probe()
    if isinstance(result, str):
        raise NoZctap(result)
    return result
