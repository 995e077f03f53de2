# SPDX-License-Identifier: GPL-2.0
"""How a transfer that goes wrong is told: one kind of error, and a line that says where."""

import os
from typing import Any

import pytest

from lib.bench.case import Setting, length
from lib.child import Child, Hear, Say
from netns import Unsupported
from selftests.zctap import bench
from selftests.zctap.bench_transfer import Bench, Failed, failing

SETTING = Setting(1500, True, 1, 65536)


class NoLink:
    """Nothing has to be changed."""

    families, far, copies = (4, 6), None, ""

    def steer(self, _queue: int) -> None:
        """To nowhere."""


def silent(_say: Say, hear: Hear) -> None:
    while hear():
        pass


def gone(_say: Say, hear: Hear) -> None:
    hear()
    os._exit(3)


def broken(_say: Say, hear: Hear) -> None:
    hear()
    raise OSError("no region")


def odd(say: Say, hear: Hear) -> None:
    hear()
    say("no port")


@pytest.mark.parametrize(
    ("body", "said"),
    [(gone, "has ended, with 3"), (broken, "OSError: no region"), (odd, "invalid literal for int")],
)
def test_a_failed_transfer_says_where(body: Any, said: str):
    where = "^copied, 64 KiB writes, 1 flow, MTU 1500, TSO on, round 3: "
    with Child(body) as rx, Child(silent) as tx:
        link: Any = NoLink()
        with pytest.raises(Failed, match=f"{where}.*{said}"):
            Bench(link, rx, tx, (1500, True)).measure(SETTING, "copied", 2, 1 << 20)


@pytest.mark.parametrize("rate", [1.0, 1e6, 1e9, 1e13])
def test_calibration_ends_at_any_rate(rate: float):
    class Steady(Bench):
        sent = 0

        def transfer(self, setting: Setting, way: str, count: int, *_: Any, **__: Any) -> Any:
            self.sent += 1
            assert self.sent < 20
            return {"begin": 1.0, "end": 1.0 + count / rate}

    link: Any = NoLink()
    nobody: Any = None
    found = Steady(link, nobody, nobody, (1500, True)).calibrate(SETTING, 0.5)
    assert found == length(rate, 0.5, SETTING)


@pytest.mark.parametrize(
    "words", ["--rounds=0", "--sizes=0", "--flows=1,0", "--seconds=1e9", "--seconds=nan"]
)
def test_what_makes_no_sense_is_refused(words: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        bench.main([words])
    assert "invalid" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        bench.main(["--mtus=100"])
    assert "from 1280" in capsys.readouterr().err


def test_what_cannot_be_had_and_an_interrupt_stay_what_they_are():
    for kind in (Unsupported, KeyboardInterrupt, Failed):
        with pytest.raises(kind), failing("here"):
            raise kind
    with pytest.raises(Failed, match=r"^here: AssertionError$"), failing("here"):
        raise AssertionError


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (Failed("recv, round 1: x"), 1, "bench: recv, round 1: x\n"),
        (Unsupported("needs y"), 2, "bench: needs y\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_exit_status(
    error: BaseException,
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    def run(_options: object) -> int:
        raise error

    monkeypatch.setattr(bench, "run", run)
    assert bench.main([]) == status
    assert capsys.readouterr() == ("", said)
