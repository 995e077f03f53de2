# SPDX-License-Identifier: GPL-2.0
"""The report on a veth, in a namespace of its own: what the kernel itself says."""

import errno
import json
import os
from pathlib import Path

import pytest

from lib.deadline import wait_until
from lib.nic import ethtool, report, restore, words
from lib.nic.card import Card
from lib.nic.device import Device
from lib.nic.lock import alone, holder
from lib.nic.needs import lacks
from lib.run import nic
from lib.run.options import parse
from lib.trouble import Trouble
from netns import Link, xdp
from tests.nic.changes import channels, die_with


def test_report(veth: Link):
    with Device(veth.rx.ifname) as device:
        found = report.gather(device)
    assert found.driver.name == found.link.kind == "veth"
    assert found.channels == (ethtool.Channels(4, 4), ethtool.Channels(4, 4))
    assert (found.rings, found.table, found.rules, found.ntuple) == (None,) * 4
    assert (found.link.mtu, found.link.up, found.link.carrier) == (1500, True, True)
    assert set(found.link.addresses) == {"198.18.0.2/24", "fd5a:c7a9::2/64"}
    assert found.offloads["tx-tcp-segmentation"]
    assert not found.dangers
    assert not lacks(found)
    text = "\n".join(words.lines(found, lacks(found)))
    assert "queues        rx 4, tx 4 (at most rx 4, tx 4)" in text
    assert text.endswith("nothing is missing, as far as one sees without --probe")
    assert json.loads(json.dumps(found.as_json()))["driver"]["name"] == "veth"


@pytest.mark.parametrize(("mode", "word"), [(0, "driver"), (xdp.GENERIC, "generic")])
def test_an_xdp_program_is_told_of(veth: Link, mode: int, word: str):
    with xdp.attached(veth.rx, mode), Device(veth.rx.ifname) as device:
        found = report.gather(device)
    assert found.link.xdp == word
    assert found.link.xdp_program
    (lack,) = lacks(found)
    assert lack.command.startswith(f"ip link set dev {veth.rx.ifname} xdp")


def test_down_and_without_an_address(veth: Link):
    with veth.rx.netlink() as ip:
        ip.flush_addr(index=veth.rx.ifindex)
        ip.link("set", index=veth.rx.ifindex, state="down")
    with Device(veth.rx.ifname) as device:
        found = lacks(report.gather(device))
    assert [lack.what for lack in found] == ["it is down", "no address"]


def test_what_keeps_it_silent(veth: Link):
    name = veth.rx.ifname
    with Device(name) as device:
        wait_until(lambda: not device.silence(), "its carrier")
        veth.tx.set(state="down")
        assert device.silence() == (
            f"{name} has no carrier: nothing is plugged in, or the other end is down"
        )
        veth.tx.set(state="up")
        wait_until(lambda: not device.silence(), "its carrier")
        veth.rx.set(state="down")
        assert device.silence() == f"{name} is down"
        veth.rx.delete()
        assert device.silence() == f"{name} is gone"


def test_the_report_tells_of_a_journal(veth: Link, capsys: pytest.CaptureFixture[str]):
    name = veth.rx.ifname
    with Card(name) as card:
        card.set_channels(2)
        assert nic.run(parse(["nic", name])) == 0
        assert f"in use by a run, process {os.getpid()}" in capsys.readouterr().out
    die_with(name)
    assert nic.run(parse(["nic", name])) == 0
    assert "has left settings: see --restore" in capsys.readouterr().out
    assert channels(name).rx == 2  # a report changes nothing
    with Device(name) as device:
        assert restore.left(Path(os.environ["XDG_CACHE_HOME"]) / "zctap-selftests/nic", device)


def test_json_and_configuration(
    veth: Link, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("NETIF", veth.rx.ifname)
    monkeypatch.setenv("LOCAL_V4", "198.18.0.7")
    monkeypatch.setenv("REMOTE_V4", "198.18.0.1")
    assert nic.run(parse(["nic", "--json", str(tmp_path / "x.json")])) == 0
    assert "LOCAL_V4 (198.18.0.7) is not an address of it" in capsys.readouterr().out
    content = json.loads((tmp_path / "x.json").read_text())
    assert content["report"]["link"]["ifindex"] == veth.rx.ifindex
    assert content["missing"][0]["command"].endswith(f"dev {veth.rx.ifname}")


def test_without_root(
    veth: Link, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    # Where the project is may be closed to others than root: /root is.
    monkeypatch.setattr(nic, "ROOT", Path("/nowhere"))
    os.seteuid(65534)
    try:
        assert nic.run(parse(["nic", veth.rx.ifname])) == 0
        with pytest.raises(Trouble, match="--probe needs root"):
            nic.run(parse(["nic", veth.rx.ifname, "--probe"]))
        with pytest.raises(Trouble, match="--restore needs root"):
            nic.run(parse(["nic", veth.rx.ifname, "--restore"]))
    finally:
        os.seteuid(0)
    out = capsys.readouterr().out
    assert "queues        rx 4, tx 4" in out
    assert "root would add" in out


def test_a_probe_says_why_not(veth: Link, capsys: pytest.CaptureFixture[str]):
    assert nic.run(parse(["nic", veth.rx.ifname, "--probe"])) == 0
    (line,) = [one for one in capsys.readouterr().out.splitlines() if one.startswith("  zctap  ")]
    assert line.split()[1] in ("yes,", "no:")


def test_a_wrong_name_is_one_line_with_a_hint(veth: Link):
    with pytest.raises(Trouble) as caught:
        nic.run(parse(["nic", veth.rx.ifname[:-1]]))
    assert f"did you mean {veth.rx.ifname}?" in str(caught.value)


def test_the_lock_is_the_namespace_s(veth: Link):
    with alone(2, "x"):
        assert holder(2) == os.getpid()
        assert holder(3) is None
        for _ in range(100):
            holder(2)
        assert holder(2) == 0
        with pytest.raises(Trouble, match="x is in use by another run, a process:"), alone(2, "x"):
            pass
        with veth.tx.ns.entered(), alone(2, "x"):
            assert holder(2) == os.getpid()


def test_a_device_is_its_namespace_s(veth: Link):
    device = Device(veth.rx.ifname)
    with veth.tx.ns.entered():
        assert ethtool.channels(device.ask)[0].rx == 4
        for ask in (device.link, device.split):
            with pytest.raises(OSError, match="another network namespace") as caught:
                ask()
            assert caught.value.errno == errno.EXDEV
    device.close()
