# SPDX-License-Identifier: GPL-2.0
"""Settings of a card that can be changed and put back: one interface for all of them.

Values are what JSON can say, as they go to a journal: two are the same setting if they are equal.
"""

import errno
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Protocol

from lib.nic import ethtool, features, flows, rss, sender
from lib.nic.flows import Flow
from lib.nic.ioctl import Ask
from lib.nic.split import Split
from lib.steering import Filter

Value = Any
Of = Mapping[str, Any]  # which of its kind: {} where there is only one


class Device(Protocol):
    """What is asked of a lib.nic.device.Device."""

    def ask(self, command: bytearray) -> int:
        """As lib.nic.ioctl.Ask."""

    def split(self) -> Split:
        """Header/data split."""

    def set_split(self, wanted: Split) -> None:
        """Change it."""


class Setting:
    """Something that can be read and written. Both raise OSError."""

    def __init__(self, device: Device, of: Of) -> None:
        self._device, self._of = device, of
        self._ask: Ask = device.ask

    def read(self) -> Value:
        """What it is now."""
        raise NotImplementedError

    def write(self, value: Value) -> None:
        """Make it that; the driver may make something near to it."""
        raise NotImplementedError

    def nobodys(self, value: Value) -> bool:
        """Whether the card comes to this value by itself, so that nobody has chosen it."""
        return False

    def near(self, wanted: Value, value: Value) -> bool:
        """Whether a driver may have made `value` of what was wanted."""
        return False

    def hindrance(self, value: Value) -> str:
        """Why writing this would harm what others have set; "" if it would not."""
        return ""


class ChannelCounts(Setting):
    """How many queues there are: Channels."""

    def read(self) -> Value:
        """As Setting."""
        return ethtool.as_dict(ethtool.channels(self._ask)[0])

    def write(self, value: Value) -> None:
        """As Setting."""
        ethtool.set_channels(self._ask, ethtool.Channels(**value))


class RingSizes(Setting):
    """Descriptors in a ring: Rings."""

    def read(self) -> Value:
        """As Setting."""
        return ethtool.as_dict(ethtool.rings(self._ask)[0])

    def write(self, value: Value) -> None:
        """As Setting."""
        ethtool.set_rings(self._ask, ethtool.Rings(**value))

    def near(self, wanted: Value, value: Value) -> bool:
        """As Setting: drivers round up, to a power of two at the most."""
        pairs = [(wanted[name], value[name]) for name in wanted]
        return all(asked <= made < 2 * asked or asked == made for asked, made in pairs)


class RssTable(Setting):
    """The indirection table: a list of queues."""

    def read(self) -> Value:
        """As Setting."""
        return rss.table(self._ask)

    def write(self, value: Value) -> None:
        """As Setting. The default is reset to, not written: only then does it go on following the
        number of queues (IFF_RXFH_CONFIGURED, net/ethtool/ioctl.c).
        """
        rss.set_table(self._ask, [])
        if self.read() != value:
            rss.set_table(self._ask, value)

    def nobodys(self, value: Value) -> bool:
        """As Setting: drivers reset the table when the number of queues changes."""
        queues = rss.receiving_queues(self._ask)
        return bool(queues and value == rss.spread(len(value), range(queues)))


class HeaderSplit(Setting):
    """Header/data split: {"state": UNKNOWN, OFF or ON, "threshold": bytes or None}."""

    def read(self) -> Value:
        """As Setting."""
        now = self._device.split()
        return {"state": now.state, "threshold": now.threshold}

    def write(self, value: Value) -> None:
        """As Setting."""
        self._device.set_split(Split(value["state"], value["threshold"]))


class FeatureFlag(Setting):
    """Whether a feature ("name") is asked for: a bool."""

    def read(self) -> Value:
        """As Setting."""
        found = features.features(self._ask).get(self._of["name"])
        if found is None:
            raise OSError(errno.EOPNOTSUPP, f"no feature {self._of['name']}")
        return found.wanted

    def write(self, value: Value) -> None:
        """As Setting."""
        features.set_feature(self._ask, self._of["name"], value)

    def hindrance(self, value: Value) -> str:
        """As Setting: drivers drop all rules when n-tuple filters are switched off."""
        if value or self._of["name"] != features.NTUPLE or not flows.locations(self._ask)[0]:
            return ""
        return "somebody else's flow rules would go with it"


class FlowRule(Setting):
    """Whether there is a rule for that flow: a bool. Rules are known by what they say, not by
    their location: one that somebody has put in the place of ours is not ours.
    """

    def __init__(self, device: Device, of: Of) -> None:
        super().__init__(device, of)
        self.flow = Flow(**of)

    def where(self) -> list[int]:
        """The locations of such rules. Raises OSError."""
        found = []
        for location in flows.locations(self._ask)[0]:
            try:
                spec = flows.rule(self._ask, location)
            except OSError as error:
                if error.errno in (errno.ENODEV, errno.EPERM):
                    raise
                continue  # it has gone meanwhile
            if flows.flow_of(spec) == self.flow:
                found.append(location)
        return found

    def read(self) -> Value:
        """As Setting."""
        return bool(self.where())

    def write(self, value: Value) -> None:
        """As Setting."""
        if value:
            flows.insert(self._ask, self.flow, self._free())
            return
        for location in self.where():
            flows.delete(self._ask, location)

    def _free(self) -> int:
        """The first free location, since the lowest rule wins, unless the driver chooses."""
        used, size, chooses = flows.locations(self._ask)
        if chooses or not size:
            return flows.ANY
        free = set(range(size)) - set(used)
        if not free:
            raise OSError(errno.ENOSPC, "no room for another flow rule")
        return min(free)


class SenderQdisc(Setting):
    """Whether the device at the other end has a clsact qdisc (a sender.Place): a bool."""

    def __init__(self, device: Device, of: Of) -> None:
        super().__init__(device, of)
        self._place = sender.Place(**of)

    def read(self) -> Value:
        """As Setting."""
        return sender.has_clsact(self._place)

    def write(self, value: Value) -> None:
        """As Setting."""
        sender.set_clsact(self._place, value)

    def hindrance(self, value: Value) -> str:
        """As Setting: all filters go with the qdisc."""
        if value or not sender.filters(self._place):
            return ""
        return "somebody else's filters would go with it"


class SenderFilter(Setting):
    """Whether there is a filter at the other end (a sender.Place, a Filter): a bool."""

    def __init__(self, device: Device, of: Of) -> None:
        super().__init__(device, of)
        self._place, self._filter = sender.Place(**of["at"]), Filter(**of["filter"])

    def read(self) -> Value:
        """As Setting."""
        return sender.has_filter(self._place, self._filter)

    def write(self, value: Value) -> None:
        """As Setting."""
        sender.set_filter(self._place, self._filter, value)


KINDS: dict[str, type[Setting]] = {
    "queues": ChannelCounts,
    "ring sizes": RingSizes,
    "RSS table": RssTable,
    "header split": HeaderSplit,
    "feature": FeatureFlag,
    "flow rule": FlowRule,
    "sender's qdisc": SenderQdisc,
    "sender's filter": SenderFilter,
}


def setting(device: Device, kind: str, of: Of) -> Setting:
    """The setting of a device. Raises KeyError, TypeError for what is none."""
    return KINDS[kind](device, of)


def of_flow(flow: Flow) -> Of:
    """Which flow rule."""
    return asdict(flow)


def title(kind: str, of: Of) -> str:
    """The setting, in words."""
    if kind == "flow rule":
        return f"rule {Flow(**of)}"
    if kind == "sender's qdisc":
        return f"clsact qdisc of {of['ifname']} in {of['netns']}"
    if kind == "sender's filter":
        where, what = of["at"], Filter(**of["filter"])
        return f"filter of {where['ifname']} in {where['netns']}: {what}"
    return str(of["name"]) if kind == "feature" else kind


def words(value: Value) -> str:
    """A value, in words."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Mapping):
        if "state" in value:
            return str(Split(value["state"], value["threshold"]))
        return ", ".join(f"{name} {count}" for name, count in value.items() if count)
    if isinstance(value, list):
        shown = " ".join(str(queue) for queue in value[:16])
        return f"{shown} ... ({len(value)})" if len(value) > 16 else shown
    return str(value)
