# SPDX-License-Identifier: GPL-2.0
"""The page has all of a run, needs nothing else, and what tests print stays text."""

import re
from html.parser import HTMLParser

import pytest

from lib.report import contract
from lib.report.model import Result, Run
from lib.report.page.page import look, render
from lib.report.series import Series

_VOID = {"meta", "input"}
ENTRIES = [
    contract.Clause("REG-1", ("RFC",), "`arg` is NULL: `EINVAL`. More."),
    contract.Clause("REG-2", ("REF",), "Nobody names this."),
]


class Elements(HTMLParser):
    """The elements of a page; raises AssertionError if they are not nested."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        self.found.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element of SVG's that ends at once."""
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """It is the last one that began."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Text."""
        self.text += data


def page_of(*results: Result, config: str = "", **fields: object) -> tuple[str, Elements]:
    run = Run(tests=[result.id for result in results], **fields)  # type: ignore[arg-type]
    run.take(results)
    text = render(run, contract.of_run(ENTRIES, run), seconds=75.0, config=config)
    return text, Elements(text)


def test_page_has_everything():
    text, found = page_of(
        Result("a/m.py::x", "passed", 0.5),
        Result("a/m.py::y", "failed", 1.0, detail="E   AssertionError: of y"),
        Result("a/n.py::z", "panic", reason="panicked", detail="console: BUG"),
        Result("a/n.py::s", "skipped", reason="no device"),
        Result("a/o.py::t", "passed", samples=(Series("ifq 1: pages", (0, 1), {"free": (4, 3)}),)),
        config="CONFIG_SMP=y",
        kernel="6.1.192",
        seed=7,
        facts={"command": "./run_tests.py -k x", "profile": "plain"},
        contract={"a/m.py::x": ["REG-1"]},
    )
    for words in (
        "Not good",
        "2 passed",
        "1 panic",
        "6.1.192",
        "./run_tests.py -k x",
        "1:15 min",
        "CONFIG_SMP=y",
        "AssertionError: of y",
        "console: BUG",
        "no device",
        "REG-1",
        "1 promises that no test of this run names",
    ):
        assert words in found.text, words
    assert len([tag for tag, attrs in found.found if attrs.get("class") == "series s0"]) == 2
    modules = [attrs for tag, attrs in found.found if attrs.get("class") == "module"]
    assert ["open" in attrs for attrs in modules] == [True, True, False]
    ids = [attrs["id"] for _, attrs in found.found if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = {attrs["href"] for tag, attrs in found.found if tag == "a"}
    assert links <= {f"#{name}" for name in ids}
    assert not re.search(r"https?://|url\(|@import", text)


def test_what_a_test_says_stays_text():
    evil = '</pre><script>alert(1)</script>"\x1b[31m\ud800{{ 7 * 7 }}'
    text, found = page_of(
        Result(f"m.py::{evil}", "failed", reason=evil, detail=evil, waits={evil: 1.0}),
        facts={"command": evil},
        kernel=evil,
        complaints=[evil],
    )
    assert len([tag for tag, _ in found.found if tag == "script"]) == 1
    assert "{{ 7 * 7 }}" in found.text
    assert "\x1b" not in text
    text.encode()


@pytest.mark.parametrize(
    ("outcomes", "said"), [((), "skipped"), (("skipped",), "skipped"), (("passed",), "All good")]
)
def test_page_of_any_run(outcomes: tuple[str, ...], said: str):
    _, found = page_of(*(Result(f"m.py::{number}", word) for number, word in enumerate(outcomes)))
    assert said in found.text


def test_lost_is_not_failed_and_not_run_is_neither():
    looks = {word: look(word) for word in ("xfailed", "failed", "oops", "not run", "skipped")}
    assert looks == {
        "xfailed": "good",
        "failed": "failed",
        "oops": "lost",
        "not run": "skipped",
        "skipped": "skipped",
    }
