# SPDX-License-Identifier: GPL-2.0
"""What any zero-copy receive shares, whatever the uapi: the memory, and what lies in it."""

from lib.zerocopy.chunk import Chunk, Tally
from lib.zerocopy.region import Region

__all__ = ["Chunk", "Region", "Tally"]
