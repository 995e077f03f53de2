# SPDX-License-Identifier: GPL-2.0
"""Header/data split: headers of a TCP packet to one buffer, its payload to another.

Only netlink has it (ETHTOOL_MSG_RINGS_GET and _SET, attribute tcp-data-split). 6.1 tells, and does
not set it; the threshold (hds-thresh) came with 6.14.
"""

import os
from dataclasses import dataclass
from typing import Any

from pyroute2.netlink import NLM_F_ACK, NLM_F_REQUEST
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.generic import ethtool as genl

# enum ethtool_tcp_data_split, uapi/linux/ethtool.h. UNKNOWN set: as the driver likes best.
UNKNOWN, OFF, ON = 0, 1, 2
_WORDS = {UNKNOWN: "unknown", OFF: "off", ON: "on"}


class _Message(genl.ethtool_rings_msg):
    # uapi/linux/ethtool_netlink.h; pyroute2 0.9 ends before these, 17 and 18
    nla_map: Any = (
        *genl.ethtool_rings_msg.nla_map,
        ("ETHTOOL_A_RINGS_HDS_THRESH", "uint32"),
        ("ETHTOOL_A_RINGS_HDS_THRESH_MAX", "uint32"),
    )


_make: Any = _Message  # no checker sees how pyroute2's classes are called
_open: Any = genl.NlEthtool


@dataclass(frozen=True)
class Split:
    """Whether headers are split off (UNKNOWN, OFF, ON), and of packets of more than how many bytes
    of payload; None where card or kernel know no threshold.
    """

    state: int = UNKNOWN
    threshold: int | None = None
    most: int | None = None  # the largest threshold

    def __str__(self) -> str:
        beyond = "" if self.threshold is None else f", beyond {self.threshold} bytes"
        return _WORDS[self.state] + beyond


def split(ifindex: int) -> Split:
    """What an interface of the calling thread's namespace does.

    Raises OSError: EOPNOTSUPP if the driver knows no sizes of rings, or the kernel no ethtool by
    netlink; ENODEV.
    """
    answer = _request(genl.ETHTOOL_MSG_RINGS_GET, ifindex, [], 0)[0]
    return Split(
        answer.get("ETHTOOL_A_RINGS_TCP_DATA_SPLIT") or UNKNOWN,
        answer.get("ETHTOOL_A_RINGS_HDS_THRESH"),
        answer.get("ETHTOOL_A_RINGS_HDS_THRESH_MAX"),
    )


def set_split(ifindex: int, wanted: Split) -> None:
    """Set both, the threshold if there is to be one.

    Raises OSError: EINVAL from a kernel that cannot set it, EOPNOTSUPP for a driver that cannot.
    """
    attributes: list[tuple[str, int]] = [("ETHTOOL_A_RINGS_TCP_DATA_SPLIT", wanted.state)]
    if wanted.threshold is not None:
        attributes.append(("ETHTOOL_A_RINGS_HDS_THRESH", wanted.threshold))
    _request(genl.ETHTOOL_MSG_RINGS_SET, ifindex, attributes, NLM_F_ACK)


def _request(
    command: int, ifindex: int, attributes: list[tuple[str, int]], flags: int
) -> tuple[Any, ...]:
    message = _make()
    message["cmd"], message["version"] = command, genl.ETHTOOL_GENL_VERSION
    header = {"attrs": [["ETHTOOL_A_HEADER_DEV_INDEX", ifindex]]}
    message["attrs"] = [("ETHTOOL_A_RINGS_HEADER", header), *attributes]
    try:
        with _open() as netlink:
            netlink.asyncore.module_err_level = "debug"  # without the family: an error, no log
            netlink.bind(genl.ETHTOOL_GENL_NAME, _Message)
            kind = netlink.prid
            answers = netlink.nlm_request(message, msg_type=kind, msg_flags=NLM_F_REQUEST | flags)
            return tuple(answers)
    except NetlinkError as error:
        code = error.extra_code or error.code
        raise OSError(code, os.strerror(code)) from error
