#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Whatever changes a card is killed at random moments: is the card as it was afterwards?

Usage: tests/guests/card_kills.py [COUNT [SEED]], in the runner's virtual environment. Half of the
kills are of tests on a veth that was named, with a queue to be added, and in half of the cases
somebody's filter at its peer; half are of what sets up an e1000e. After each the settings are put
back, and have to be what they were, for lib/nic as for ethtool(8) and tc(8). A line a kill; exit
status 0 if all were.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lib.run import guest_card, suite
from lib.run.bytecode import Bytecode
from lib.run.in_guest import SUITE, prepare_machine, start
from lib.run.joined import run_script
from lib.run.nic_options import Nic
from lib.vm import kbuild, source
from lib.vm.guest import Guest
from lib.vm.kbuild import Kernel

PROGRAM = Path(__file__).with_name("kills.py")
_MOST = 120  # seconds for one kill, and what belongs to it
_FEWER = "ethtool -L card rx 1\n"
# Somebody else's, which must be there afterwards as it was.
_FILTER = """
ip netns exec peer tc qdisc add dev far clsact
ip netns exec peer tc filter add dev far egress prio 7 protocol ip \\
    u32 match ip dport 9 0xffff action ok
"""
_UP = "ip link set eth0 up\n"


def kills(kernel: Kernel, card: str, script: str, count: int, seed: int) -> list[dict[str, object]]:
    """Have so many in a guest with that card, which a script has prepared; what came of them."""
    wanted = Nic(card=card)
    machine = guest_card.fitted(prepare_machine(kernel), wanted)
    tested = guest_card.tested(wanted)
    env = {"PYTHONPATH": SUITE, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    with start(machine, snapshot=True) as guest:
        guest.put(suite.archive({PROGRAM.name: PROGRAM}, Bytecode(str(machine.root))), SUITE)
        if not machine.nic:
            assert tested
            guest_card.make(guest, card, _MOST)
            env |= tested.variables
        run_script(guest, script, _MOST)
        ifname = "eth0" if machine.nic else "card"
        words = ["python3", f"{SUITE}/{PROGRAM.name}", ifname, str(count), str(seed)]
        guest.start(words, env, SUITE)
        return follow(guest)


def follow(guest: Guest) -> list[dict[str, object]]:
    """Return the lines that it prints, told as they come."""
    found: list[dict[str, object]] = []
    said = b""
    while True:
        what, piece = guest.next(time.monotonic() + _MOST)
        if what == "exit":
            if int(piece):
                found.append({"differs": f"it ended with {piece.decode()}"})
            return found
        said += piece
        *lines, said = said.split(b"\n")
        for line in lines:
            if line.startswith(b"{"):
                found.append(json.loads(line))
                print(told(found[-1]), flush=True)
            else:
                print(line.decode(errors="replace"), flush=True)


def told(line: dict[str, object]) -> str:
    """A kill in a line."""
    wrong = line["differs"] or line["left"]
    what = f"{line['number']} {line['kind']}: changed {line['changed']}"
    again = ", killed again while it was put back" if line["again"] else ""
    return f"{what}{again}: {wrong or 'as it was'}"


def main(argv: list[str]) -> int:
    """Kill; return the exit status."""
    count = int(argv[0]) if argv else 50
    seed = int(argv[1]) if argv[1:] else random.getrandbits(31)
    print(f"seed {seed}", flush=True)
    kernel = kbuild.kernel_for(source.debian(), "plain")
    parts = [("veth", _FEWER), ("veth", _FEWER + _FILTER), ("e1000e", _UP)]
    counts = [count // 4, count // 2 - count // 4, count - count // 2]
    found = []
    for number, ((card, script), times) in enumerate(zip(parts, counts, strict=True)):
        found += kills(kernel, card, script, times, seed + number)
    bad = [line for line in found if line["differs"] or line.get("left")]
    changed = sum(1 for line in found if line.get("changed"))
    print(f"{len(found)} kills, {changed} while something was changed; {len(bad)} not as it was")
    return int(bool(bad) or len(found) != count)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
