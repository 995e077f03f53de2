# SPDX-License-Identifier: GPL-2.0
"""`demo`: run selftests/zctap/demo.py, in a guest or here, and pass on what it prints."""

from __future__ import annotations

from lib.run.options import Options
from lib.run.program import Place, pass_on


def run(options: Options, place: Place) -> int:
    """Run it; return its exit status, 1 if the guest is lost. Raises Trouble."""
    words = [f"--dump={options.dump}"]
    if options.bytes:
        words += [f"--bytes={options.bytes}"]
    return place.run("selftests.zctap.demo", words, pass_on)
