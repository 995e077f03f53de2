# SPDX-License-Identifier: GPL-2.0
"""Which card, which addresses, which remote end: as the kernel's drivers/net selftests have it.

Variables NETIF, LOCAL_V4, LOCAL_V6, REMOTE_V4, REMOTE_V6, REMOTE_TYPE and REMOTE_ARGS, from the
environment or a file net.config beside the tests. What is on the command line goes before the
environment, and that before the file. All that is wrong is a Trouble that says where.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TypeVar

from lib.trouble import Trouble

FILE = "net.config"
Address = TypeVar("Address", IPv4Address, IPv6Address)
KEYS = (
    "NETIF",
    *("LOCAL_V4", "LOCAL_V6", "REMOTE_V4", "REMOTE_V6"),
    *("REMOTE_TYPE", "REMOTE_ARGS"),
)
TYPES = ("ssh", "netns")
# Of ssh's destinations those that cannot be taken for an option, or be several words.
_SSH = re.compile(r"[\w%+.:@\[\]-]+", re.ASCII)
# A name, or a path.
_NETNS = re.compile(r"[\w.+@:-]+|/[\w.+@:/-]+", re.ASCII)
_SHAPES = {"ssh": (_SSH, "user@host"), "netns": (_NETNS, "a namespace's name, or its path")}


@dataclass(frozen=True)
class Said:
    """A value, and who says so, for people."""

    value: str
    where: str


@dataclass(frozen=True)
class Config:
    """A card and its other end. Pairs of addresses: ours on the card, and the remote's; None for
    an IP version that is not to be tested. `remote_type` is "" without a remote end.
    """

    netif: str
    v4: tuple[IPv4Address, IPv4Address] | None = None
    v6: tuple[IPv6Address, IPv6Address] | None = None
    remote_type: str = ""
    remote: str = ""

    def environment(self) -> dict[str, str]:
        """The variables that say the same."""
        found = {"NETIF": self.netif}
        for version, pair in (("V4", self.v4), ("V6", self.v6)):
            if pair:
                found |= {f"LOCAL_{version}": str(pair[0]), f"REMOTE_{version}": str(pair[1])}
        if self.remote_type:
            found |= {"REMOTE_TYPE": self.remote_type, "REMOTE_ARGS": self.remote}
        return found


def read(
    environment: Mapping[str, str],
    file: Path | None = None,
    *,
    nic: str = "",
    remote: str = "",
    interfaces: Collection[str] | None = None,
) -> Config | None:
    """The configuration; None if no card is named anywhere. Raises Trouble.

    nic and remote (user@host, for ssh) are the command line's; interfaces: those that there are.
    """
    said = from_file(file) if file and file.exists() else {}
    for key in KEYS:
        if environment.get(key):
            said[key] = Said(environment[key], "environment")
    if nic:
        said["NETIF"] = Said(nic, "command line")
    if remote:
        said["REMOTE_TYPE"] = Said("ssh", "command line")
        said["REMOTE_ARGS"] = Said(remote, "command line")
    if not said:
        return None
    if "NETIF" not in said:
        key, first = next(iter(said.items()))
        raise Trouble(f"{first.where}: {key} without NETIF: name the card, too")
    return Config(
        _netif(said["NETIF"], interfaces),
        _pair(said, "V4", IPv4Address),
        _pair(said, "V6", IPv6Address),
        *_remote(said),
    )


def complete(found: Config | None) -> Config:
    """A configuration that tests can be run with. Raises Trouble."""
    if found is None:
        raise Trouble("no card is named (NETIF)")
    if not found.v4 and not found.v6:
        raise Trouble(f"{found.netif}: LOCAL_V4 and REMOTE_V4, or both for V6, are to be given")
    if not found.remote_type:
        raise Trouble(f"{found.netif}: REMOTE_TYPE and REMOTE_ARGS, or --remote, are to be given")
    return found


def from_file(path: Path) -> dict[str, Said]:
    """What a file says: lines KEY=value, where # begins a comment, and quotes are the shell's.

    A value that is empty is none. Raises Trouble.
    """
    try:
        if not path.is_file():
            raise Trouble(f"{path}: not a file")
        text = path.read_bytes().decode()
    except OSError as error:
        raise Trouble(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        before = error.object[: error.start].count(b"\n")
        raise Trouble(f"{path}:{before + 1}: not UTF-8") from error
    said: dict[str, Said] = {}
    for number, line in enumerate(text.split("\n"), 1):
        where = f"{path}:{number}"
        found = _line(line, where)
        if not found:
            continue
        key, value = found
        if key in said:
            raise Trouble(f"{where}: {key} a second time (first: {said[key].where})")
        said[key] = Said(value, where)
    return {key: one for key, one in said.items() if one.value}


def _line(line: str, where: str) -> tuple[str, str] | None:
    key, equals, rest = line.partition("=")
    key = key.strip()
    if not (key or equals) or key.startswith("#"):
        return None
    if key not in KEYS:
        if not equals:
            raise Trouble(f"{where}: {_shown(key)}: want KEY=value")
        raise Trouble(f"{where}: no such key: {_shown(key)} (there are {', '.join(KEYS)})")
    try:
        words = shlex.split(rest, comments=True)
    except ValueError as error:
        raise Trouble(f"{where}: {key}: {str(error).lower()}") from error
    if not equals or len(words) > 1:
        problem = "a value with spaces wants quotes" if equals else "want KEY=value"
        raise Trouble(f"{where}: {key}: {problem}")
    return key, words[0] if words else ""


def _netif(said: Said, interfaces: Collection[str] | None) -> str:
    name = said.value
    # dev_valid_name(), net/core/dev.c
    if len(os.fsencode(name)) > 15 or name in (".", "..") or re.search(r"[\s/:\0]", name):
        raise Trouble(f"{said.where}: NETIF: no name of an interface: {_shown(name)}")
    if interfaces is not None and name not in interfaces:
        there = ", ".join(sorted(interfaces))
        raise Trouble(f"{said.where}: NETIF: no interface {_shown(name)} here; there are {there}")
    return name


def _pair(
    said: Mapping[str, Said], version: str, kind: type[Address]
) -> tuple[Address, Address] | None:
    ours, theirs = f"LOCAL_{version}", f"REMOTE_{version}"
    _both(said, ours, theirs)
    if ours not in said:
        return None
    local, remote = (_address(key, said[key], kind) for key in (ours, theirs))
    if local == remote:
        raise Trouble(f"{said[theirs].where}: {theirs} is {ours}: the remote end has another one")
    return local, remote


def _address(key: str, said: Said, kind: type[Address]) -> Address:
    version = "IPv4" if kind is IPv4Address else "IPv6"
    try:
        address = kind(said.value)
    except ValueError:
        found = _shown(said.value)
        raise Trouble(f"{said.where}: {key}: not an {version} address: {found}") from None
    odd = {
        "a loopback": address.is_loopback,
        "a multicast": address.is_multicast,
        "an unspecified": address.is_unspecified,
        # It says nothing without an interface, which at the remote end nobody here knows.
        "a link-local": address.is_link_local,
    }
    for what, so in odd.items():
        if so:
            raise Trouble(f"{said.where}: {key}: {what} address cannot be tested with: {address}")
    return address


def _remote(said: Mapping[str, Said]) -> tuple[str, str]:
    _both(said, "REMOTE_TYPE", "REMOTE_ARGS")
    if "REMOTE_TYPE" not in said:
        return "", ""
    kind, arguments = said["REMOTE_TYPE"], said["REMOTE_ARGS"]
    if kind.value not in TYPES:
        raise Trouble(
            f"{kind.where}: REMOTE_TYPE: {_shown(kind.value)} is none of {', '.join(TYPES)}"
        )
    shape, example = _SHAPES[kind.value]
    value = arguments.value
    if not shape.fullmatch(value) or value.startswith("-") or value in (".", ".."):
        raise Trouble(f"{arguments.where}: REMOTE_ARGS: {_shown(value)}: want {example}")
    return kind.value, value


def _both(said: Mapping[str, Said], one: str, other: str) -> None:
    """Neither of two or both. Raises Trouble."""
    for here, missing in ((one, other), (other, one)):
        if here in said and missing not in said:
            raise Trouble(f"{said[here].where}: {here} without {missing}")


def _shown(text: str, most: int = 40) -> str:
    """Somebody's words on one line, whatever is in them."""
    return repr(text if len(text) <= most else text[:most] + "...")
