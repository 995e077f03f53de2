# SPDX-License-Identifier: GPL-2.0
"""Measuring ways to receive against each other: what is measured, in which order, what it says."""
