# SPDX-License-Identifier: GPL-2.0
"""A sending end on another host, where nothing needs to be but python3."""

from lib.far.far import Far, FarLost, here, ssh

__all__ = ["Far", "FarLost", "here", "ssh"]
