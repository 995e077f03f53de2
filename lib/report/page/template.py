# SPDX-License-Identifier: GPL-2.0
"""How templates become pages: what they are given stays text, and what they lack is an error."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lib.report.junit import clean


def environment() -> Environment:
    """Return what reads the templates beside this file."""
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )


def _finalize(value: object) -> object:
    """Clean what goes into the page: tests print what they like, the page has to be UTF-8."""
    plain = isinstance(value, str) and not isinstance(value, Markup)
    return clean(str(value)) if plain else value
