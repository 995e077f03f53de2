# SPDX-License-Identifier: GPL-2.0
"""pytest's way into the suite: the fixtures, each module a plugin."""

pytest_plugins = [
    "fixtures.outcome",
    "fixtures.seed",
    "fixtures.links",
    "fixtures.rings",
    "fixtures.stations",
    "fixtures.peers",
    "fixtures.registration",
    "fixtures.regions",
    "fixtures.exhausted",
    "fixtures.sampling",
    "fixtures.feeding",
    "fixtures.ways",
    "fixtures.mixing",
    "fixtures.parking",
    "fixtures.owners",
    "fixtures.patience",
    "fixtures.guards",
    "fixtures.kmemleak",
]
