# SPDX-License-Identifier: GPL-2.0
"""Structures of uapi/linux/ethtool.h: sizes and offsets, and what functions make of canned ones."""

import errno
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from lib.nic import ethtool, features, flows, rss
from lib.nic.flows import Flow, FlowSpec, Rxnfc, flow_of
from lib.nic.ioctl import Ask
from tests.nic.fake import FakeDevice

_OFFSETS = {
    "ethtool_rx_flow_spec": (
        FlowSpec,
        168,
        {"h_u": 4, "h_ext": 56, "m_u": 76, "m_ext": 128, "ring_cookie": 152, "location": 160},
    ),
    "ethtool_rxnfc": (Rxnfc, 192, {"flow_type": 4, "data": 8, "fs": 16, "rule_cnt": 184}),
}


@pytest.mark.parametrize("name", _OFFSETS)
def test_structures_are_laid_out_as_on_x86_64(name: str):
    structure, size, offsets = _OFFSETS[name]
    assert len(bytes(structure())) == size
    for field, offset in offsets.items():
        assert getattr(structure, field).offset == offset


def test_the_compiler_agrees(tmp_path: Path):
    if not shutil.which("gcc") or not Path("/usr/include/linux/ethtool.h").exists():
        pytest.skip("needs gcc and the kernel's headers for user space (linux-libc-dev)")
    sizes = {name: size for name, (_, size, _) in _OFFSETS.items()}
    sizes |= {"ethtool_drvinfo": 196, "ethtool_channels": 36, "ethtool_ringparam": 36}
    sizes |= {"ethtool_rxfh": 24, "ethtool_tcpip4_spec": 16, "ethtool_tcpip6_spec": 40}
    lines = [f"_Static_assert(sizeof(struct {s}) == {n}, {s!r});" for s, n in sizes.items()]
    for name, (_, _, offsets) in _OFFSETS.items():
        for field, at in [*offsets.items(), *([("rule_locs", 188)] if "nfc" in name else [])]:
            lines.append(f"_Static_assert(offsetof(struct {name}, {field}) == {at}, {field!r});")
    source = tmp_path / "layouts.c"
    source.write_text(
        "#include <stddef.h>\n#include <linux/ethtool.h>\n" + "\n".join(lines).replace("'", '"')
    )
    subprocess.run(["gcc", "-fsyntax-only", str(source)], check=True)


@pytest.mark.parametrize(
    "flow",
    [
        Flow(4, 3, dst="198.18.0.2", dst_port=5001),
        Flow(6, 0, dst="fd5a:c7a9::2", dst_port=1, src="fd5a:c7a9::1", src_port=65535),
        Flow(4, 7),
    ],
    ids=str,
)
def test_a_rule_says_what_the_flow_says(flow: Flow):
    assert flow_of(flow.spec(5)) == flow


def test_bytes_of_a_rule():
    spec = bytes(Flow(4, 3, dst="198.18.0.2", dst_port=5001).spec(9))
    assert spec[:4] == b"\1\0\0\0"
    assert spec[4:16] == bytes(4) + bytes([198, 18, 0, 2]) + bytes(2) + b"\x13\x89"
    assert spec[76:88] == bytes(4) + b"\xff" * 4 + bytes(2) + b"\xff\xff"
    assert spec[152:164] == b"\3" + bytes(7) + b"\x09\0\0\0"


def test_other_people_s_rules_are_no_flows():
    def spec(**changes: int) -> FlowSpec:
        made = Flow(4, 1, dst="198.18.0.2").spec(0)
        for name, value in changes.items():
            setattr(made, name, value)
        return made

    assert flow_of(spec(flow_type=2)) is None  # UDP
    assert flow_of(spec(flow_type=0x80000001)) is None  # with a VLAN
    assert flow_of(spec(ring_cookie=2**64 - 1)) is None  # to be dropped
    prefix = spec()
    prefix.m_u[7] = 0  # a /24
    assert flow_of(prefix) is None
    tos = spec()
    tos.m_u[12] = 0xFF
    assert flow_of(tos) is None


def test_an_address_of_the_other_family_is_refused():
    with pytest.raises(ValueError, match="not IPv4"):
        Flow(4, 1, dst="fd5a:c7a9::2").spec(0)


def kernel(answers: dict[int, bytes], heard: list[bytes] | None = None) -> Ask:
    """Answers commands by their number: what follows the number in the structure."""

    def ask(command: bytearray) -> int:
        if heard is not None:
            heard.append(bytes(command))
        (number,) = struct.unpack_from("<I", command)
        if number not in answers:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        command[4 : 4 + len(answers[number])] = answers[number]
        return 0

    return ask


def test_driver():
    words = (b"veth", b"1.0", b"N/A", b"0000:01:00.0")
    info = b"".join(word.ljust(32, b"\0") for word in words)
    assert ethtool.driver(kernel({0x03: info})) == ethtool.Driver("veth", "1.0", "", "0000:01:00.0")


def test_channels_and_rings_come_with_their_limits():
    counts = struct.pack("<8I", 8, 8, 0, 4, 2, 1, 0, 3)
    now, most = ethtool.channels(kernel({0x3C: counts}))
    assert (now.rx, now.tx, now.combined, now.receiving) == (2, 1, 3, 5)
    assert (most.rx, most.combined) == (8, 4)
    heard: list[bytes] = []
    ethtool.set_channels(kernel({0x3D: b""}, heard), now)
    assert heard == [struct.pack("<9I", 0x3D, 0, 0, 0, 0, 2, 1, 0, 3)]
    sizes, largest = ethtool.rings(kernel({0x10: struct.pack("<8I", 256, 0, 0, 512, 64, 0, 0, 32)}))
    assert (sizes.rx, sizes.tx, largest.rx, largest.tx) == (64, 32, 256, 512)


def test_what_a_driver_cannot_do_is_its_errno():
    with pytest.raises(OSError) as caught:
        rss.table(kernel({}))
    assert caught.value.errno == errno.EOPNOTSUPP


def test_rss_table(tmp_path: Path):
    nic = FakeDevice(tmp_path / "nic")
    assert rss.receiving_queues(nic.ask) == 4
    assert rss.table(nic.ask) == [0, 1, 2, 3, 0, 1, 2, 3] == rss.spread(8, range(4))
    rss.set_table(nic.ask, [2, 0] * 4)
    assert rss.table(nic.ask) == [2, 0] * 4
    rss.set_table(nic.ask, [])
    assert rss.table(nic.ask) == [0, 1, 2, 3] * 2
    with pytest.raises(OSError, match="table"):
        rss.set_table(nic.ask, [4] * 8)


def test_features_by_name(tmp_path: Path):
    nic = FakeDevice(tmp_path / "nic")
    assert features.features(nic.ask) == {features.NTUPLE: features.Feature(True, False, False)}
    features.set_feature(nic.ask, features.NTUPLE, True)
    assert features.features(nic.ask)[features.NTUPLE].active
    with pytest.raises(KeyError):
        features.set_feature(nic.ask, "no-such-feature", True)


def test_rules_come_and_go(tmp_path: Path):
    nic = FakeDevice(tmp_path / "nic")
    features.set_feature(nic.ask, features.NTUPLE, True)
    one, two = Flow(4, 1, dst_port=1), Flow(6, 2, dst_port=2)
    assert flows.locations(nic.ask) == ([], 16, False)
    assert (flows.insert(nic.ask, one, 3), flows.insert(nic.ask, two, 15)) == (3, 15)
    assert flows.locations(nic.ask)[0] == [3, 15]
    assert flow_of(flows.rule(nic.ask, 15)) == two
    flows.delete(nic.ask, 3)
    assert flows.locations(nic.ask)[0] == [15]
    nic.insists = True
    assert flows.insert(nic.ask, one, flows.ANY) == 0
