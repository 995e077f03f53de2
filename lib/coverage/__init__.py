# SPDX-License-Identifier: GPL-2.0
"""What of the kernel the suite reaches: gcov's counters, from the guest to a report."""
