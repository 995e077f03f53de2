# SPDX-License-Identifier: GPL-2.0
"""The one exception that ends a run before a verdict."""


class Trouble(Exception):
    """The environment or the usage is wrong.

    The message is one line that says what is wrong and what to do about it.
    `run_tests.py` prints it to stderr and exits with status 2.
    """
