# SPDX-License-Identifier: GPL-2.0
"""The ways to run: in a guest, on this kernel, and the checks of the project itself."""
