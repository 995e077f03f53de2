# SPDX-License-Identifier: GPL-2.0
"""What the host must have before anything else can start. Standard library only."""
