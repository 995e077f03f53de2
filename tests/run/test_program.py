# SPDX-License-Identifier: GPL-2.0
"""Programs on this machine: how they end, and that a card is put back however they do."""

import sys
from pathlib import Path

import pytest

from lib.run import host_card, program, tested
from lib.run.options import parse

# Says each SIGINT that reaches it, and takes a while to tidy up.
_WORDY = """
import signal, sys, time
times = []
signal.signal(signal.SIGINT, lambda *_: times.append(1))
print("ready", flush=True)
while not times:
    time.sleep(0.01)
time.sleep(0.3)
print(f"interrupted {len(times)} times", flush=True)
"""


def interrupt_at(word: bytes, said: list[bytes]) -> program.Feed:
    """Keep what is said, and act as ^C when it is this."""

    def feed(piece: bytes) -> None:
        said.append(piece)
        if piece.startswith(word):
            raise KeyboardInterrupt

    return feed


def test_who_is_interrupted_is_told_once_and_has_the_last_word():
    said: list[bytes] = []
    with pytest.raises(KeyboardInterrupt):
        program._run_here([sys.executable, "-c", _WORDY], {}, interrupt_at(b"ready", said))
    assert b"".join(said).splitlines() == [b"ready", b"interrupted 1 times"]


def test_it_is_out_of_the_terminals_reach():
    said: list[bytes] = []
    text = "import os; print(os.getsid(0) == os.getpid())"
    assert program._run_here([sys.executable, "-c", text], {}, said.append) == 0
    # Unbuffered, it writes the word and the end of the line apart.
    assert b"".join(said) == b"True\n"


@pytest.mark.parametrize("how", ["ends", "interrupted"])
def test_a_card_is_put_back(how: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    # In one piece: with PYTHONUNBUFFERED print() writes the end of the line apart.
    Path(tmp_path, "says.py").write_text("import os; os.write(1, os.environb[b'NETIF'] + b'\\n')")
    back: list[tested.Tested] = []
    card = tested.Tested("a card", {"NETIF": "eth9", "PYTHONPATH": str(tmp_path)})
    monkeypatch.setattr(host_card, "named", lambda _options: card)

    def put_back(card: tested.Tested) -> int:
        back.append(card)
        return 1

    monkeypatch.setattr(host_card, "put_back", put_back)
    place, said = program.OnHost(parse(["demo", "--host"])), list[bytes]()
    if how == "interrupted":
        with pytest.raises(KeyboardInterrupt):
            place.run("says", [], interrupt_at(b"eth9", said))
    else:
        assert place.run("says", [], said.append) == 1  # it is not as it was
    assert (said, back) == ([b"eth9\n"], [card])
