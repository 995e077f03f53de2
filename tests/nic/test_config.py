# SPDX-License-Identifier: GPL-2.0
"""Naming a card: what is taken, from where, and what is refused with which words."""

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from lib.nic.config import Config, complete, read
from lib.trouble import Trouble

PAIR = "LOCAL_V4=198.18.0.1\nREMOTE_V4=198.18.0.2\n"
V4 = (IPv4Address("198.18.0.1"), IPv4Address("198.18.0.2"))
V6 = (IPv6Address("fd5a:c7a9::1"), IPv6Address("fd5a:c7a9::2"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the file would be."""
    return tmp_path / "net.config"


def test_nobody_names_a_card(file: Path):
    assert read({}, file) is None
    file.write_text("# NETIF=eth0\n\n")
    assert read({"HOME": "/root", "NETIF": ""}, file) is None


@pytest.mark.parametrize(
    ("text", "config"),
    [
        ("NETIF=eth0", Config("eth0")),
        ("NETIF=eth0\r\n", Config("eth0")),
        ('  NETIF = "eth0"   # the one in the back\n', Config("eth0")),
        ("NETIF='eth#0'# quoted\nLOCAL_V4=\nREMOTE_V4=''", Config("eth#0")),
        ("NETIF=eth0\n" + PAIR, Config("eth0", V4)),
        (
            "NETIF=eth0\nLOCAL_V6=fd5a:c7a9:0::1\nREMOTE_V6 = 'fd5a:c7a9::2'\n" + PAIR,
            Config("eth0", V4, V6),
        ),
        (
            "NETIF=eth0\nREMOTE_TYPE=ssh\nREMOTE_ARGS=root@peer.example",
            Config("eth0", remote_type="ssh", remote="root@peer.example"),
        ),
        (
            "NETIF=eth0\nREMOTE_TYPE=ssh\nREMOTE_ARGS=root@[fd00::1]",
            Config("eth0", remote_type="ssh", remote="root@[fd00::1]"),
        ),
        (
            "NETIF=eth0\nREMOTE_TYPE=netns\nREMOTE_ARGS=peer",
            Config("eth0", remote_type="netns", remote="peer"),
        ),
    ],
)
def test_from_a_file(file: Path, text: str, config: Config):
    file.write_bytes(text.encode())
    assert read({}, file) == config


def test_the_command_line_goes_first_and_the_file_last(file: Path):
    file.write_text("NETIF=eth0\nREMOTE_TYPE=netns\nREMOTE_ARGS=peer\n" + PAIR)
    assert read({"NETIF": "eth1"}, file) == Config("eth1", V4, None, "netns", "peer")
    environment = {"NETIF": "eth1", "LOCAL_V4": "198.18.0.9"}
    config = read(environment, file, nic="eth2", remote="me@there")
    assert config == Config("eth2", (IPv4Address("198.18.0.9"), V4[1]), None, "ssh", "me@there")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("NETIFF=eth0", ":1: no such key: 'NETIFF' (there are NETIF, LOCAL_V4"),
        ("\n\nexport NETIF=eth0", ":3: no such key: 'export NETIF'"),
        ("\x1b[2J=1", r":1: no such key: '\x1b[2J'"),
        ("=1", ":1: no such key: ''"),
        ("NETIF", ":1: NETIF: want KEY=value"),
        ("nonsense", ":1: 'nonsense': want KEY=value"),
        ("x" * 5000, ":1: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...': want KEY=value"),
        ("NETIF='eth0", ":1: NETIF: no closing quotation"),
        ("NETIF=eth0\\", ":1: NETIF: no escaped character"),
        ("NETIF=eth0 eth1", ":1: NETIF: a value with spaces wants quotes"),
        ("NETIF=eth0\nNETIF=eth1", ":2: NETIF a second time (first: "),
        ("NETIF='eth 0'", ":1: NETIF: no name of an interface: 'eth 0'"),
        ("NETIF=../../etc", ":1: NETIF: no name of an interface"),
        ("NETIF=sixteenletterslo", ":1: NETIF: no name of an interface"),
        ("NETIF=eth7", ":1: NETIF: no interface 'eth7' here; there are eth0, eth1, eth2"),
        (PAIR, ":1: LOCAL_V4 without NETIF"),
        ("NETIF=eth0\nLOCAL_V4=198.18.0.1", ":2: LOCAL_V4 without REMOTE_V4"),
        ("NETIF=eth0\nREMOTE_V6=fd00::1", ":2: REMOTE_V6 without LOCAL_V6"),
        ("NETIF=eth0\nLOCAL_V4=198.18.0.1\nREMOTE_V6=fd00::1", ":2: LOCAL_V4 without REMOTE_V4"),
        ("NETIF=eth0\nREMOTE_TYPE=ssh", ":2: REMOTE_TYPE without REMOTE_ARGS"),
        ("NETIF=eth0\nREMOTE_ARGS=x", ":2: REMOTE_ARGS without REMOTE_TYPE"),
        ("NETIF=eth0\nREMOTE_TYPE=rsh\nREMOTE_ARGS=x", "'rsh' is none of ssh, netns"),
        ("NETIF=eth0\nREMOTE_TYPE=ssh\nREMOTE_ARGS=-oProxyCommand=x", "want user@host"),
        ("NETIF=eth0\nREMOTE_TYPE=ssh\nREMOTE_ARGS='me@host; reboot'", "want user@host"),
        ("NETIF=eth0\nREMOTE_TYPE=netns\nREMOTE_ARGS=../x", "want a namespace's name"),
        ("NETIF=eth0\nREMOTE_TYPE=netns\nREMOTE_ARGS=..", "want a namespace's name"),
        (
            "NETIF=eth0\nREMOTE_V4=198.18.0.1\nLOCAL_V4=fd00::1",
            ":3: LOCAL_V4: not an IPv4 address: 'fd00::1'",
        ),
        (
            "NETIF=eth0\nLOCAL_V4=198.18.0.1\nREMOTE_V4=198.18.0.1/24",
            ":3: REMOTE_V4: not an IPv4 address: '198.18.0.1/24'",
        ),
        (
            "NETIF=eth0\nLOCAL_V4=198.18.0.1\nREMOTE_V4=198.18.0.1",
            ":3: REMOTE_V4 is LOCAL_V4",
        ),
        (
            "NETIF=eth0\nLOCAL_V6=fe80::1%eth0\nREMOTE_V6=fe80::2",
            ":2: LOCAL_V6: a link-local address cannot be tested with",
        ),
        ("NETIF=eth0\nLOCAL_V4=127.0.0.1\nREMOTE_V4=198.18.0.1", "a loopback address"),
        ("NETIF=eth0\nLOCAL_V4=224.0.0.1\nREMOTE_V4=198.18.0.1", "a multicast address"),
        ("NETIF=eth0\nLOCAL_V4=0.0.0.0\nREMOTE_V4=198.18.0.1", "an unspecified address"),
    ],
)
def test_refused(file: Path, text: str, said: str):
    file.write_text(text)
    with pytest.raises(Trouble) as caught:
        read({}, file, interfaces=["eth2", "eth1", "eth0"])
    assert str(caught.value).startswith(f"{file}:")
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("data", [b"NETIF=eth0\n# caf\xe9", b"NETIF=eth0\nREMOTE_TYPE=\xff\xfe"])
def test_not_text(file: Path, data: bytes):
    file.write_bytes(data)
    with pytest.raises(Trouble, match=":2: not UTF-8"):
        read({}, file)


def test_not_a_file(tmp_path: Path):
    with pytest.raises(Trouble, match="not a file"):
        read({}, tmp_path)


def test_environment_and_command_line_are_named(file: Path):
    with pytest.raises(Trouble, match="environment: LOCAL_V4 without REMOTE_V4"):
        read({"NETIF": "eth0", "LOCAL_V4": "198.18.0.1"}, file)
    with pytest.raises(Trouble, match="command line: NETIF: no name of an interface: 'a/b'"):
        read({}, file, nic="a/b")
    with pytest.raises(Trouble, match="command line: REMOTE_ARGS: '-x': want user@host"):
        read({}, file, nic="eth0", remote="-x")
    with pytest.raises(Trouble, match=r"command line: NETIF: no interface 'eth0' here; .* lo"):
        read({}, file, nic="eth0", interfaces=["lo"])


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (None, "no card is named"),
        (Config("eth0", remote_type="ssh", remote="peer"), "eth0: LOCAL_V4 and REMOTE_V4, or"),
        (Config("eth0", v4=V4), "eth0: REMOTE_TYPE and REMOTE_ARGS, or --remote, are to be"),
    ],
)
def test_too_little_for_a_run(found: Config | None, problem: str):
    with pytest.raises(Trouble, match=problem):
        complete(found)


def test_enough_for_a_run():
    found = Config("eth0", v4=V4, remote_type="ssh", remote="peer")
    assert complete(found) is found
    assert read(found.environment()) == found
