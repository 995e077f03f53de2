# SPDX-License-Identifier: GPL-2.0
"""Finding the commit that broke something: git's bisection, driven by verdicts of the suite."""
