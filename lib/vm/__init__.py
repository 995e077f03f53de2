# SPDX-License-Identifier: GPL-2.0
"""From a kernel source to a guest that runs commands."""
