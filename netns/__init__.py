# SPDX-License-Identifier: GPL-2.0
"""Network namespaces, multi-queue veth pairs, steering, and TCP peers in them."""

from netns.dial import connect
from netns.link import End, Link, LinkSpec, Unsupported
from netns.namespace import Namespace
from netns.tcp import Connection

__all__ = [
    "Connection",
    "End",
    "Link",
    "LinkSpec",
    "Namespace",
    "Unsupported",
    "connect",
]
