# SPDX-License-Identifier: GPL-2.0
"""A run as JUnit XML, as CI servers read it: a suite for each module."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from lib.report.gist import gist
from lib.report.model import LOST, Result, Run

# All that XML 1.0 can have, escaped or not.
_INVALID = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text: str) -> str:
    """Return text without the characters that no XML document may have."""
    return _INVALID.sub("", text)


def to_junit(run: Run, seconds: float, started: str) -> bytes:
    """Return the document; the run took `seconds`, `started` is an ISO 8601 time."""
    modules: dict[str, list[Result]] = {}
    for test in run.tests:
        # Without a verdict only if the run was cut off.
        result = run.results.get(test, Result(test, "not run", reason="no result"))
        modules.setdefault(result.module, []).append(result)
    root = ET.Element("testsuites", {"name": "zctap-selftests"})
    for module, results in modules.items():
        suite = _suite(root, module, results, started)
        facts = {**run.facts, "uname": run.kernel, "seed": "" if run.seed is None else run.seed}
        properties = ET.Element("properties")
        for name, value in facts.items():
            _add(properties, "property", name=name, value=str(value))
        suite.insert(0, properties)
        for result in results:
            _case(suite, result, run.contract.get(result.id, result.contract))
    # What the channel brought that it should not have makes the run fail, so it is in here.
    if run.complaints:
        failed = [
            Result(f"event channel::{number}", "failed", reason=complaint)
            for number, complaint in enumerate(run.complaints, 1)
        ]
        suite = _suite(root, "event channel", failed, started)
        for result in failed:
            _case(suite, result, ())
        modules["event channel"] = failed
    _count(root, [result for results in modules.values() for result in results])
    root.set("time", f"{seconds:.3f}")
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _suite(root: ET.Element, module: str, results: list[Result], started: str) -> ET.Element:
    suite = _add(root, "testsuite", name=module, timestamp=started)
    _count(suite, results)
    suite.set("time", f"{sum(result.duration for result in results):.3f}")
    return suite


def _count(element: ET.Element, results: list[Result]) -> None:
    outcomes = [result.outcome for result in results]
    element.set("tests", str(len(outcomes)))
    element.set("failures", str(outcomes.count("failed")))
    element.set("errors", str(sum(outcome in LOST for outcome in outcomes)))
    element.set("skipped", str(outcomes.count("skipped") + outcomes.count("xfailed")))


def _case(suite: ET.Element, result: Result, contract: tuple[str, ...] | list[str]) -> None:
    case = _add(
        suite,
        "testcase",
        classname=result.module.removesuffix(".py").replace("/", "."),
        name=result.name,
        time=f"{result.duration:.3f}",
    )
    if contract:
        properties = _add(case, "properties")
        for clause in contract:
            _add(properties, "property", name="contract", value=clause)
    message = " ".join(gist(result))
    if result.outcome == "skipped":
        _add(case, "skipped", type="skip", message=message)
    elif result.outcome == "xfailed":
        _add(case, "skipped", type="xfail", message=message)
    elif result.outcome == "failed":
        _add(case, "failure", type="failed", message=message).text = clean(result.detail)
    elif result.outcome in LOST:
        _add(case, "error", type=result.outcome, message=message).text = clean(result.detail)


def _add(parent: ET.Element, tag: str, **attributes: str) -> ET.Element:
    return ET.SubElement(parent, tag, {name: clean(text) for name, text in attributes.items()})
