# SPDX-License-Identifier: GPL-2.0
"""What a card lacks, for which tests, and the command that would help."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lib.nic.report import Report
from lib.nic.split import OFF, UNKNOWN

ALL, ZERO_COPY = "all tests", "zero-copy tests"


@dataclass(frozen=True)
class Lack:
    """`command` is "" where there is none that helps."""

    tests: str
    what: str
    command: str = ""


def lacks(report: Report) -> list[Lack]:
    """What is missing, most urgent first."""
    found = [*_link(report), *_queues(report), *_xdp(report)]
    # The suite's own devices split headers without ethtool, and are steered to by tc.
    if report.link.kind != "veth":
        found += [*_split(report), *_steering(report)]
    if report.zctap and not report.zctap.startswith("yes"):
        found.append(Lack(ZERO_COPY, "no zctap, for the reason above"))
    return found


def _link(report: Report) -> Iterator[Lack]:
    name = report.link.ifname
    if report.dangers:
        what = f"it {' and '.join(report.dangers)}: another card, or --i-know"
        yield Lack(ALL, what)
    if not report.link.up:
        yield Lack(ALL, "it is down", f"ip link set dev {name} up")
    elif not report.link.carrier:
        yield Lack(ALL, "no carrier: nothing is plugged in, or the other end is down")
    if not [one for one in report.link.addresses if not one.startswith("fe80:")]:
        yield Lack(ALL, "no address", f"ip address add ADDRESS/PREFIX dev {name}")


def _queues(report: Report) -> Iterator[Lack]:
    if report.channels is None:
        yield Lack(ZERO_COPY, "the driver does not tell its queues, and cannot change them")
        return
    now, most = report.channels
    if now.receiving > 1:
        return
    if most.receiving < 2:
        yield Lack(ZERO_COPY, "one RX queue: none can be kept for a test")
        return
    kind = "combined" if now.combined else "rx"
    command = f"ethtool -L {report.link.ifname} {kind} 2"
    yield Lack(ZERO_COPY, "one RX queue in use: none is kept for a test", command)


def _xdp(report: Report) -> Iterator[Lack]:
    if report.link.xdp:
        mode = "xdpgeneric" if report.link.xdp == "generic" else "xdp"
        what = f"an XDP program is attached ({report.link.xdp}): no queue can be bound"
        yield Lack(ZERO_COPY, what, f"ip link set dev {report.link.ifname} {mode} off")


def _split(report: Report) -> Iterator[Lack]:
    name, split = report.link.ifname, report.split
    if split is None or split.state == UNKNOWN:
        yield Lack(ZERO_COPY, "no header/data split that the driver tells of")
    elif split.state == OFF:
        yield Lack(ZERO_COPY, "headers are not split off", f"ethtool -G {name} tcp-data-split on")
    if split and split.threshold:
        what = f"packets of up to {split.threshold} bytes are not split"
        yield Lack(ZERO_COPY, what, f"ethtool -G {name} hds-thresh 0")


def _steering(report: Report) -> Iterator[Lack]:
    name = report.link.ifname
    if report.table is None and report.channels and report.channels[0].receiving > 1:
        yield Lack(ZERO_COPY, "no RSS table: other traffic cannot be kept off a queue")
    if report.rules is None:
        yield Lack(ZERO_COPY, "no flow rules: a connection cannot be steered to a queue")
    elif report.ntuple and not report.ntuple.active:
        command = f"ethtool -K {name} ntuple on" if report.ntuple.changeable else ""
        yield Lack(ZERO_COPY, "flow rules (n-tuple filters) are off", command)
