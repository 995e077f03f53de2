# SPDX-License-Identifier: GPL-2.0
"""A run as one page for browsers that needs nothing else, on the host only."""
