# SPDX-License-Identifier: GPL-2.0
"""CI servers get well-formed XML with every test in it, whatever a test has printed."""

from xml.etree import ElementTree as ET

import pytest

from lib.report.junit import to_junit
from lib.report.model import LOST, Result, Run


def document(*results: Result, pending: tuple[str, ...] = (), **fields: object) -> ET.Element:
    run = Run(tests=[result.id for result in results] + list(pending), **fields)  # type: ignore[arg-type]
    run.take(results)
    return ET.fromstring(to_junit(run, 12.5, "2026-01-02T03:04:05Z"))


def test_suites_are_modules_and_have_counts():
    root = document(
        Result("a/m.py::x", "passed", 0.5),
        Result("a/n.py::x[1-2]", "skipped", reason="no device"),
        Result("a/m.py::y", "failed", 1.0, detail="E   AssertionError: why\nmore"),
        Result("a/m.py::z", "xfailed", reason="known"),
        Result("a/m.py::u", "xpassed"),
        kernel="6.1",
        seed=7,
        facts={"profile": "plain"},
    )
    assert root.attrib == {
        "name": "zctap-selftests",
        "tests": "5",
        "failures": "1",
        "errors": "0",
        "skipped": "2",
        "time": "12.500",
    }
    one, other = root.findall("testsuite")
    assert (one.get("name"), one.get("tests"), one.get("time")) == ("a/m.py", "4", "1.500")
    assert other.get("timestamp") == "2026-01-02T03:04:05Z"
    facts = {p.get("name"): p.get("value") for p in one.findall("properties/property")}
    assert facts == {"profile": "plain", "uname": "6.1", "seed": "7"}
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert cases["x[1-2]"].get("classname") == "a.n"
    assert [child.tag for child in cases["x"]] == []
    failure = cases["y"].find("failure")
    assert failure is not None
    assert (failure.get("message"), failure.get("type")) == ("AssertionError: why", "failed")
    assert failure.text == "E   AssertionError: why\nmore"
    skipped = cases["z"].find("skipped")
    assert skipped is not None
    assert skipped.attrib == {"type": "xfail", "message": "known"}


@pytest.mark.parametrize("word", LOST)
def test_lost_test_is_an_error_of_its_word(word: str):
    root = document(Result("m.py::x", word, reason="gone", detail="console: BUG"))
    error = root.find("testsuite/testcase/error")
    assert error is not None
    assert (error.get("type"), error.get("message"), error.text) == (word, "gone", "console: BUG")
    assert root.get("errors") == "1"


def test_test_without_a_verdict_is_no_success():
    error = document(pending=("m.py::x",)).find("testsuite/testcase/error")
    assert error is not None
    assert error.get("type") == "not run"


def test_contract_is_in_the_properties():
    root = document(Result("m.py::x", "panic"), contract={"m.py::x": ["REG-1", "BUF-4"]})
    found = root.findall("testsuite/testcase/properties/property")
    assert [(p.get("name"), p.get("value")) for p in found] == [
        ("contract", "REG-1"),
        ("contract", "BUF-4"),
    ]


def test_what_no_document_may_have_is_taken_out():
    text = "a\x00b\x1b[31mc\ufffe\ud800d <&> \U0001f600\ttab"
    root = document(Result(f"m.py::{text}", "failed", detail=text), facts={"command": text})
    assert next(root.iter("failure")).text == "ab[31mcd <&> \U0001f600\ttab"


def test_complaint_fails_here_too():
    root = document(Result("m.py::x", "passed"), complaints=["not an event"])
    assert root.get("failures") == "1"
    assert root.find("testsuite[@name='event channel']/testcase/failure") is not None
