# SPDX-License-Identifier: GPL-2.0
"""pytest's way into the suite: the fixtures, each module a plugin."""

pytest_plugins = [
    "fixtures.outcome",
    "fixtures.seed",
    "fixtures.needs",
    "fixtures.links",
    "fixtures.rings",
    "fixtures.stations",
    "fixtures.registration",
    "fixtures.regions",
    "fixtures.ways",
    "fixtures.mixing",
    "fixtures.peers",
    "fixtures.exhausted",
    "fixtures.sampling",
    "fixtures.feeding",
    "fixtures.parking",
    "fixtures.onward",
    "fixtures.owners",
    "fixtures.patience",
    "fixtures.faults",
    "fixtures.guards",
    "fixtures.kmemleak",
]
