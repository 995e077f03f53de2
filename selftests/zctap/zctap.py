#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Run the suite on the running kernel, as a kselftest; docs/kselftest.md of zctap-selftests.

Any Python 3.6 can read this, and says so if it can do no more.
"""

import os
import sys


def main() -> int:
    """Find the rest of the suite, hand over to it, and return its exit status."""
    program = os.path.realpath(__file__)
    here = os.path.dirname(program)
    # In a drop-in and where kselftest installed it; in our repository.
    for root in (here, os.path.dirname(os.path.dirname(here))):
        if os.path.exists(os.path.join(root, "lib", "run", "kselftest.py")):
            break
    else:
        return skip("lib/ is not here: copy the suite by `make -C selftests/zctap dropin TREE=...`")
    if sys.version_info < (3, 11):  # noqa: UP036 - that is what it asks for
        return skip(f"Python 3.11 is needed, this is {sys.version_info[0]}.{sys.version_info[1]}")
    if root == here:
        # A kernel tree is no place for bytecode.
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.path[0] = root
    from lib.run import kselftest

    return kselftest.main(program, sys.argv[1:])


def skip(reason: str) -> int:
    """Say why nothing is tested, and return the exit status."""
    print("KTAP version 1\n1..1\nok 1 zctap # SKIP " + reason)
    return 4


if __name__ == "__main__":
    sys.exit(main())
