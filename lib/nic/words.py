# SPDX-License-Identifier: GPL-2.0
"""A report as lines for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from lib.nic.ethtool import Channels, Rings, as_dict
from lib.nic.needs import Lack
from lib.nic.report import Report
from lib.nic.settings import words

_WIDTH = 13


def lines(report: Report, lacks: Iterable[Lack]) -> Iterator[str]:
    """The report, and what is missing."""
    yield f"{report.link.ifname}: {_driver(report)}"
    for name, text in _rows(report):
        yield f"  {name:{_WIDTH}} {text}"
    lacks = list(lacks)
    if not lacks:
        yield "nothing is missing" + (
            "" if report.zctap else ", as far as one sees without --probe"
        )
    for tests, some in groupby(lacks, lambda lack: lack.tests):
        yield f"missing for {tests}:"
        for lack in some:
            yield f"  {lack.what}"
            if lack.command:
                yield f"    {lack.command}"


def _driver(report: Report) -> str:
    driver = report.driver
    parts = [f"{driver.name or 'no driver that tells its name'} {driver.version}".strip()]
    parts += [f"firmware {driver.firmware}"] if driver.firmware else []
    parts += [f"bus {driver.bus}"] if driver.bus else []
    return ", ".join(parts)


def _rows(report: Report) -> Iterator[tuple[str, str]]:
    link = report.link
    state = ("up, carrier" if link.carrier else "up, no carrier") if link.up else "down"
    yield "link", f"{state}, MTU {link.mtu} (at most {link.max_mtu or 'any'}), {link.mac}"
    yield "addresses", ", ".join(link.addresses) or "none"
    yield "queues", _counts(report.channels)
    yield "ring sizes", _counts(report.rings)
    yield "header split", "not known to the driver" if report.split is None else str(report.split)
    yield "RSS", _rss(report.table)
    yield "flow rules", _rules(report)
    yield "XDP", f"program {link.xdp_program}, {link.xdp}" if link.xdp else "no program"
    for state, wanted in (("on", True), ("off", False)):
        names = [name for name, active in report.offloads.items() if active is wanted]
        yield f"offloads {state}", ", ".join(names) or "none of those that matter"
    yield "zctap", report.zctap or "not asked (--probe)"
    if report.dangers:
        yield "caution", "it " + " and ".join(report.dangers)
    if report.journal:
        yield "journal", report.journal


def _counts(pair: tuple[Channels, Channels] | tuple[Rings, Rings] | None) -> str:
    if pair is None:
        return "not known to the driver"
    now, most = pair
    return f"{words(as_dict(now)) or 'none'} (at most {words(as_dict(most)) or 'none'})"


def _rss(table: list[int] | None) -> str:
    if table is None:
        return "no table"
    queues = sorted(set(table))
    return f"over queues {' '.join(map(str, queues))} ({len(table)} entries)"


def _rules(report: Report) -> str:
    if report.rules is None:
        return "none possible"
    most = f" of {report.rules_most}" if report.rules_most else ""
    state = "" if report.ntuple is None or report.ntuple.active else ", switched off"
    return f"{report.rules}{most}{state}"
