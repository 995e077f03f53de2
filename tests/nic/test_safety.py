# SPDX-License-Identifier: GPL-2.0
"""Cards that are refused, by links, routes and processes as the kernel shows them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from lib.nic import safety
from lib.nic.card import Card
from lib.nic.device import Device
from lib.trouble import Trouble
from netns import Link

CLIENT = "203.0.113.9"


class Row(dict[str, Any]):
    """A message of pyroute2's: fields, and attributes by get()."""


def test_what_is_on_top_of_an_interface():
    links = [
        Row(index=1),
        Row(index=2, IFLA_MASTER=10),
        Row(index=3, IFLA_LINK=10),  # a VLAN on the bond
        Row(index=4, IFLA_LINK=2, IFLA_LINK_NETNSID=0),  # on a card of another namespace
        Row(index=5, IFLA_LINK=2, IFLA_LINKINFO={"IFLA_INFO_KIND": "veth"}),
        Row(index=10, IFLA_MASTER=11),
        Row(index=11),
    ]
    assert safety.above(2, links) == {2, 10, 11, 3}
    assert safety.above(1, links) == {1}
    assert safety.above(3, links) == {3}


@pytest.mark.parametrize(
    ("route", "found"),
    [
        ({"RTA_OIF": 2}, {4: {2}}),
        ({"RTA_OIF": 2, "RTA_TABLE": 1000, "table": 252}, {4: {2}}),
        ({"RTA_OIF": 2, "dst_len": 1}, {4: {2}}),
        ({"RTA_OIF": 2, "dst_len": 8}, {}),
        ({"RTA_OIF": 1, "type": 7}, {}),  # unreachable
        ({"RTA_OIF": 1, "table": 255}, {}),
        ({"RTA_MULTIPATH": [{"oif": 2}, {"oif": 3}]}, {4: {2, 3}}),
        ({"family": 10, "RTA_OIF": 2, "dst_len": 3}, {6: {2}}),
    ],
)
def test_routes_to_everywhere(route: dict[str, Any], found: dict[int, set[int]]):
    row = Row({"family": 2, "dst_len": 0, "type": 1, "table": 254} | route)
    assert safety.default_routes([row]) == found


def test_ssh_is_found_behind_sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SSH_CONNECTION", "nonsense")
    monkeypatch.setattr("os.getppid", lambda: 30)
    for pid, parent, environment in (
        (30, 20, b"SUDO_USER=me\0HOME=/root"),
        (20, 10, b"SSH_CONNECTION=::ffff:203.0.113.9 50000 ::ffff:198.18.0.2 22\0"),
        (10, 1, b"SSH_CONNECTION=fe80::1%eth0 1 fe80::2%eth0 22"),
    ):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "environ").write_bytes(environment)
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (a) b) (c) S {parent} 1 1")
    expected = {("203.0.113.9", "198.18.0.2"), ("fe80::1", "fe80::2")}
    assert safety.ssh_connections(tmp_path) == expected


@pytest.fixture
def name(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A veth in a namespace of its own, where the test is."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    try:
        link = Link()
    except PermissionError as error:
        pytest.skip(f"network namespaces need root: {error}")
    with link, link.rx.ns.entered():
        yield link.rx.ifname


def refused(name: str) -> str:
    with pytest.raises(Trouble) as caught:
        Card(name)
    with Card(name, i_know=True):
        pass
    return str(caught.value)


def test_a_card_that_carries_nothing(name: str):
    with Card(name):
        pass


def test_loopback_is_none(name: str):
    with pytest.raises(Trouble, match="lo is the loopback interface, no card"):
        Card("lo", i_know=True)


@pytest.mark.parametrize(
    ("route", "version"),
    [
        ({"dst": "default", "gateway": "198.18.0.1"}, 4),
        ({"dst": "default", "gateway": "198.18.0.1", "table": 1234}, 4),
        ({"dst": "0.0.0.0/1", "gateway": "198.18.0.1"}, 4),
        ({"dst": "default", "gateway": "fd5a:c7a9::1", "family": 10}, 6),
        (
            {
                "dst": "default",
                "family": 2,
                "multipath": [{"gateway": "198.18.0.1"}, {"gateway": "198.18.0.9"}],
            },
            4,
        ),
    ],
)
def test_the_default_route(name: str, route: dict[str, Any], version: int):
    with Device(name) as device, device.netlink() as ip:
        ip.route("add", **route)
    assert refused(name).startswith(f"{name} carries the default route of IPv{version}: name")


@pytest.mark.parametrize("kind", ["bond", "bridge", "vlan", "macvlan"])
def test_the_default_route_by_something_on_top(name: str, kind: str):
    with Device(name) as device, device.netlink() as ip:
        more = {"link": device.ifindex} if kind in ("vlan", "macvlan") else {}
        more |= {"vlan_id": 7} if kind == "vlan" else {}
        try:
            ip.link("add", ifname="top0", kind=kind, **more)
        except NetlinkError as error:
            pytest.skip(f"this kernel has no {kind}: {error}")
        (top,) = ip.link_lookup(ifname="top0")
        if not more:
            ip.link("set", index=device.ifindex, state="down")
            ip.link("set", index=device.ifindex, master=top)
        ip.addr("add", index=top, address="192.0.2.1", prefixlen=24)
        ip.link("set", index=top, state="up")
        ip.route("add", dst="default", gateway="192.0.2.9", oif=top)
    assert "carries the default route of IPv4 (with top0 on it)" in refused(name)


def test_the_ssh_connection_by_its_address(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SSH_CONNECTION", f"{CLIENT} 50000 198.18.0.2 22")
    assert "carries the ssh connection that this runs over" in refused(name)
    monkeypatch.setenv("SSH_CONNECTION", f"{CLIENT} 50000 198.18.0.99 22")
    with Card(name):
        pass


def test_the_ssh_connection_by_the_way_to_the_client(name: str, monkeypatch: pytest.MonkeyPatch):
    # The address may be another interface's: Linux answers for all of them.
    for client in ("198.18.0.1", "fd5a:c7a9::1"):
        monkeypatch.setenv("SSH_CONNECTION", f"{client} 50000 192.0.2.77 22")
        assert "carries the ssh connection that this runs over" in refused(name)
