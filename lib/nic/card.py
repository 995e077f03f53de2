# SPDX-License-Identifier: GPL-2.0
"""A card for the time of a run: what is changed on it is journalled, and undone at the end."""

from __future__ import annotations

import contextlib
import errno
import functools
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from lib import cachedir
from lib.nic import ethtool, features, flows, log, restore, rss, safety, sender, settings
from lib.nic.device import Device
from lib.nic.flows import Flow
from lib.nic.identity import identity
from lib.nic.journal import Journal
from lib.nic.lock import alone
from lib.nic.split import ON
from lib.say import say
from lib.steering import Filter
from lib.trouble import Trouble

if TYPE_CHECKING:
    from lib.nic.settings import Of, Value


class Unsupported(Exception):
    """The card, its driver or the kernel cannot do that; the text says what."""


class Unrestored(Exception):
    """The card is not as it was; a line for each setting."""


@contextlib.contextmanager
def _asked(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOENT, errno.ENOSPC):
            raise Unsupported(f"{what}: {error.strerror or error}") from error
        raise


class Settings:
    """Changes of a card, each of them journalled. `device` may be played by a test."""

    def __init__(self, device: Device, file: log.Log) -> None:
        self.device = device
        self.journal = Journal(file, functools.partial(settings.setting, device))

    def _change(self, kind: str, wanted: Value, of: Of | None = None) -> Value:
        return self.journal.change(kind, of or {}, wanted)

    def set_channels(self, queues: int) -> int:
        """Receive by so many queues; returns how many there are then. Raises Unsupported, OSError.

        An RSS table that somebody has set is reset before, and set again when all is undone: it
        might name a queue that goes, which the kernel refuses, or the driver might drop it.
        """
        with _asked(f"{queues} queues"):
            now, most = ethtool.channels(self.device.ask)
            if queues == now.receiving:
                return queues
            wanted = ethtool.as_dict(now)
            if now.combined:
                wanted["combined"] = queues - now.rx
            else:
                wanted["rx"] = queues
            if queues < 1 or min(wanted.values()) < 0 or queues > most.receiving:
                raise Unsupported(f"{queues} queues: the card has {most.receiving}")
            table = self._table()
            if table and table != rss.spread(len(table), range(now.receiving)):
                self._change("RSS table", rss.spread(len(table), range(now.receiving)))
            after = self._change("queues", wanted)
        return ethtool.Channels(**after).receiving

    def _table(self) -> list[int]:
        try:
            return rss.table(self.device.ask)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            return []

    def spread_away_from(self, *queues: int) -> list[int]:
        """Let RSS use all queues but these; the table. Raises Unsupported, OSError."""
        with _asked("no RSS"):
            table = self._table()
            if not table:
                raise Unsupported("no RSS: the card has no indirection table")
            others = [at for at in range(rss.receiving_queues(self.device.ask)) if at not in queues]
            if not others:
                raise Unsupported(f"RSS away from {queues}: there is no other queue")
            made: list[int] = self._change("RSS table", rss.spread(len(table), others))
        if set(made) & set(queues):
            raise Unsupported("RSS: the driver does not take the table as it was given")
        return made

    def set_rings(self, **sizes: int) -> ethtool.Rings:
        """Set the sizes of rings (`rx`, `tx`, in descriptors); what the driver made of them.

        Raises Unsupported, OSError.
        """
        with _asked("ring sizes"):
            now, _ = ethtool.rings(self.device.ask)
            return ethtool.Rings(**self._change("ring sizes", ethtool.as_dict(now) | sizes))

    def split_headers(self) -> None:
        """Have headers split from payload, however short that is. Raises Unsupported, OSError."""
        with _asked("header/data split"):
            now = self.device.split()
            # A threshold of 0: a card that has one leaves shorter packets in one piece.
            threshold = None if now.threshold is None else 0
            wanted = {"state": ON, "threshold": threshold}
            if self._change("header split", wanted) != wanted:
                raise Unsupported("header/data split: the driver does not switch it on")

    def steer(self, flow: Flow) -> Flow:
        """Put in a flow rule, on a card with n-tuple filters, which are switched on if need be.

        Raises Unsupported, OSError.
        """
        with _asked("flow rules"):
            flows.locations(self.device.ask)
            known = features.features(self.device.ask).get(features.NTUPLE)
            if known and known.changeable and not known.active:
                self._change("feature", True, {"name": features.NTUPLE})
            if not self._change("flow rule", True, settings.of_flow(flow)):
                raise Unsupported(f"flow rules: the driver does not show {flow} as it was given")
        return flow

    def unsteer(self, flow: Flow) -> None:
        """Take out a rule of steer() again. Raises OSError."""
        self.journal.take_back("flow rule", settings.of_flow(flow))

    def steer_sender(self, place: sender.Place, wanted: Filter) -> None:
        """Steer by the sending end, a veth whose peer the card is. Raises Unsupported, OSError."""
        with _asked("steering by tc (CONFIG_NET_SCH_INGRESS, NET_CLS_U32, NET_ACT_SKBEDIT)"):
            self._change("sender's qdisc", True, sender.of_place(place))
            self._change("sender's filter", True, sender.of_filter(place, wanted))

    def unsteer_sender(self, place: sender.Place, wanted: Filter) -> None:
        """Take out a filter of steer_sender() again. Raises OSError."""
        self.journal.take_back("sender's filter", sender.of_filter(place, wanted))


class Card(Settings):
    """A card that was named, for one run at a time; a context manager.

    What a killed run has left is put back first. Raises Trouble: there is no such interface, it is
    in use, or better left alone (lib/nic/safety.py), or an earlier run's settings cannot be put
    back. Leaving raises Unrestored if not all is as it was; the journal then stays.
    """

    def __init__(self, ifname: str, *, i_know: bool = False, folder: Path | None = None) -> None:
        folder = folder or cachedir.folder("nic")
        self._ends = contextlib.ExitStack()
        try:
            device = self._ends.enter_context(Device(ifname))
            safety.check(device, i_know=i_know)
            self._ends.enter_context(alone(device.ifindex, ifname))
            _put_back(folder, device)
            self._identity = identity(device)
            super().__init__(device, restore.write_header(folder, self._identity))
            self._ends.callback(self.journal.close)
        except OSError as error:
            self._ends.close()
            raise Trouble(f"{ifname}: {error.strerror or error}") from error
        except BaseException:
            self._ends.close()
            raise

    def __enter__(self) -> Card:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        with self._ends:
            lines = [str(one) for one in self.journal.undo()]
            if lines and self._is_gone():
                lines = [restore.gone_with(self._identity)]
        if not lines:
            return
        if error is not None:  # that is what has to be told
            for line in lines:
                say(f"not as it was: {line}")
            return
        raise Unrestored("; ".join(lines))

    def _is_gone(self) -> bool:
        try:
            self.device.ifname()
        except OSError as error:
            return error.errno == errno.ENODEV
        return False


def _put_back(folder: Path, device: Device) -> None:
    for line in restore.sweep(folder):
        say(line)
    done = restore.restore(folder, device)
    for line in done.lines:
        say(line)
    if done.stuck:
        name = device.ifname()
        raise Trouble(
            f"{name} still has settings of an earlier run: {'; '.join(map(str, done.stuck))};"
            f" see ./run_tests.py nic {name}, then --restore with --force or --forget"
        )
