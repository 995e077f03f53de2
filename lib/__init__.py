# SPDX-License-Identifier: GPL-2.0
"""Libraries of the suite: they know no test and no pytest."""
