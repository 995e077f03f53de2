# SPDX-License-Identifier: GPL-2.0
"""Mutants of the reference kernel: a catalogue, sources with all of them in, what kills them."""
