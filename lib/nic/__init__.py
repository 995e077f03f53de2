# SPDX-License-Identifier: GPL-2.0
"""Network cards: what they can do, and settings that are put back, come what may.

with Card("eth0") as card:          # or Trouble: it carries the default route, it is in use, ...
    card.set_channels(4)
    card.spread_away_from(3)        # RSS uses the other queues
    card.split_headers()
    card.steer(Flow(4, queue=3, dst="198.18.0.2", dst_port=5001))
# all of it is undone, in reverse order; after SIGKILL by the next Card, or by `nic eth0 --restore`

Everything acts in the network namespace that the calling thread is in.
"""
