# SPDX-License-Identifier: GPL-2.0
"""Flow rules: which TCP packets go to which queue, whatever RSS says (`ethtool -N`, "n-tuple").

The structures are those of uapi/linux/ethtool.h on x86-64. There is no netlink message for them.
"""

import ctypes
import struct
from dataclasses import dataclass
from ipaddress import ip_address

from lib.nic.ioctl import Ask

ANY = 0xFFFFFFFF  # RX_CLS_LOC_ANY: the driver chooses a location
_SPECIAL = 0x80000000  # RX_CLS_LOC_SPECIAL: it can do that
_GRXCLSRLCNT, _GRXCLSRULE, _GRXCLSRLALL = 0x2E, 0x2F, 0x30
_SRXCLSRLDEL, _SRXCLSRLINS = 0x31, 0x32
_TYPES = {4: 0x01, 6: 0x05}  # TCP_V4_FLOW, TCP_V6_FLOW
# Source and destination address, then their ports: struct ethtool_tcpip4_spec, _tcpip6_spec.
_SPECS = {4: struct.Struct("!4s4sHH"), 6: struct.Struct("!16s16sHH")}


class FlowSpec(ctypes.Structure):
    """struct ethtool_rx_flow_spec: 168 bytes. What to match, and with which mask."""

    _fields_ = [
        ("flow_type", ctypes.c_uint32),  # 0
        ("h_u", ctypes.c_uint8 * 52),  # 4: union ethtool_flow_union
        ("h_ext", ctypes.c_uint8 * 20),  # 56: struct ethtool_flow_ext
        ("m_u", ctypes.c_uint8 * 52),  # 76
        ("m_ext", ctypes.c_uint8 * 20),  # 128
        ("ring_cookie", ctypes.c_uint64),  # 152: the queue
        ("location", ctypes.c_uint32),  # 160
    ]


class Rxnfc(ctypes.Structure):
    """struct ethtool_rxnfc: 192 bytes."""

    _fields_ = [
        ("cmd", ctypes.c_uint32),  # 0
        ("flow_type", ctypes.c_uint32),  # 4
        ("data", ctypes.c_uint64),  # 8
        ("fs", FlowSpec),  # 16
        ("rule_cnt", ctypes.c_uint32),  # 184
    ]  # 188: rule_locs[], u32 each, which begins before the structure's padding ends


_LOCATIONS = 188


@dataclass(frozen=True)
class Flow:
    """TCP packets of IP version `family` (4, 6). "" and 0 match any address, any port."""

    family: int
    queue: int
    dst: str = ""
    dst_port: int = 0
    src: str = ""
    src_port: int = 0

    def __str__(self) -> str:
        parts = [f"{name} {value}" for name, value in self._matched().items() if value]
        return f"tcp{self.family} {' '.join(parts)} -> queue {self.queue}"

    def _matched(self) -> dict[str, str | int]:
        return {
            "src": self.src,
            "src-port": self.src_port,
            "dst": self.dst,
            "dst-port": self.dst_port,
        }

    def spec(self, location: int) -> FlowSpec:
        """The rule, for the kernel. Raises ValueError for what is no address of that family."""
        layout = _SPECS[self.family]
        width = 4 if self.family == 4 else 16

        def packed(address: str) -> bytes:
            return ip_address(address).packed if address else bytes(width)

        if any(len(packed(address)) != width for address in (self.src, self.dst)):
            raise ValueError(f"{self}: not IPv{self.family}")
        value = layout.pack(packed(self.src), packed(self.dst), self.src_port, self.dst_port)
        addresses = (
            b"\xff" * width if address else bytes(width) for address in (self.src, self.dst)
        )
        ports = (0xFFFF if port else 0 for port in (self.src_port, self.dst_port))
        spec = FlowSpec(_TYPES[self.family], ring_cookie=self.queue, location=location)
        ctypes.memmove(spec.h_u, value, len(value))
        mask = layout.pack(*addresses, *ports)
        ctypes.memmove(spec.m_u, mask, len(mask))
        return spec


def flow_of(spec: FlowSpec) -> Flow | None:
    """The flow of a rule; None if a Flow cannot say what it matches, or where it leads."""
    families = [family for family, kind in _TYPES.items() if kind == spec.flow_type]
    if not families or spec.ring_cookie >> 32:  # VLANs and the like; a VF's queue; a drop
        return None
    layout = _SPECS[families[0]]
    mask = bytes(spec.m_u)
    masks = layout.unpack_from(mask)
    beyond = mask[layout.size : layout.size + 1]  # TOS, or traffic class
    if any(beyond) or not all(_whole(part) for part in masks):
        return None
    kept = bytes(a & b for a, b in zip(bytes(spec.h_u), mask, strict=True))
    src, dst, src_port, dst_port = layout.unpack_from(kept)
    return Flow(
        families[0],
        spec.ring_cookie,
        dst=str(ip_address(dst)) if any(masks[1]) else "",
        dst_port=dst_port,
        src=str(ip_address(src)) if any(masks[0]) else "",
        src_port=src_port,
    )


def _whole(mask: int | bytes) -> bool:
    """Whether it masks a field altogether, or not at all."""
    return mask in (0, 0xFFFF) if isinstance(mask, int) else set(mask) in ({0}, {0xFF})


def locations(ask: Ask) -> tuple[list[int], int, bool]:
    """Where there are rules, how many there can be (0: not said), and whether the driver chooses
    locations itself (then it may insist). Raises OSError.
    """
    count = Rxnfc(_GRXCLSRLCNT)
    _pass(ask, count)
    table = Rxnfc(_GRXCLSRLALL, rule_cnt=count.rule_cnt)
    # The answer may name the size, too; the driver refuses more rules than there is room for.
    answer = bytearray(bytes(table)[:_LOCATIONS] + bytes(4 * count.rule_cnt + 4))
    ask(answer)
    there = Rxnfc.from_buffer_copy(answer)
    found = struct.unpack_from(f"<{min(there.rule_cnt, count.rule_cnt)}I", answer, _LOCATIONS)
    size = (count.data or there.data) & ~_SPECIAL
    return list(found), int(size), bool(count.data & _SPECIAL)


def rule(ask: Ask, location: int) -> FlowSpec:
    """The rule at a location. Raises OSError; the errno for "none there" is the driver's."""
    answer = Rxnfc(_GRXCLSRULE, fs=FlowSpec(location=location))
    _pass(ask, answer)
    spec: FlowSpec = answer.fs
    return spec


def insert(ask: Ask, flow: Flow, location: int) -> int:
    """Put in a rule, replacing one at that location; its location. Raises OSError, ValueError."""
    command = Rxnfc(_SRXCLSRLINS, fs=flow.spec(location))
    _pass(ask, command)
    return int(command.fs.location)


def delete(ask: Ask, location: int) -> None:
    """Take a rule out. Raises OSError."""
    _pass(ask, Rxnfc(_SRXCLSRLDEL, fs=FlowSpec(location=location)))


def _pass(ask: Ask, command: Rxnfc) -> None:
    buffer = bytearray(bytes(command))
    ask(buffer)
    ctypes.memmove(ctypes.byref(command), bytes(buffer), len(buffer))
