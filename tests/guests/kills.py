# SPDX-License-Identifier: GPL-2.0
"""In a guest, for card_kills.py: what changes a card is killed, and the card is as it was.

Usage: kills.py IFNAME COUNT SEED, with the variables of docs/nic.md if tests are to run on it. A
line of JSON for each kill: kind, changed (whether there was something to put back), again (whether
putting it back was killed, too), differs (what is not as it was).
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from lib import cachedir
from lib.nic import features, report, restore
from lib.nic.card import Card
from lib.nic.device import Device
from lib.nic.lock import alone

_TOOLS = ("-g", "-l", "-k", "-c", "-a", "-x", "-n", "--show-priv-flags")
_PEER = [
    f"ip netns exec peer tc {what}"
    for what in ("qdisc show dev far", "filter show dev far egress", "filter show dev far ingress")
]
SAID = Path("/tmp/said")
MODULES = [f"selftests/zctap/{name}.py" for name in ("test_copy", "test_zero_copy")]


def dump(ifname: str) -> dict[str, str]:
    """Return all that there is to know, as text: from lib/nic, and from what does not share it."""
    with Device(ifname) as device:
        # A carrier comes back when the driver has reset itself.
        known = report.gather(device).as_json()
        known["link"] |= {"carrier": None}
        every = {name: vars(one) for name, one in features.features(device.ask).items()}
    found = {"report": json.dumps(known), "features": json.dumps(every, default=str)}
    commands = [f"ethtool {option} {ifname}" for option in _TOOLS]
    for command in commands + (_PEER if os.environ.get("NETIF") else []):
        done = subprocess.run(command.split(), capture_output=True, text=True)
        found[command] = done.stdout + done.stderr
    return found


def suite(ifname: str, draw: random.Random) -> None:
    """Run some tests on the card, as run_tests.py would."""
    flags = "-p no:cacheprovider -p pytest_randomly --rootdir=. -c pyproject.toml -q --tb=short"
    seed = f"--randomly-seed={draw.getrandbits(31)}"
    os._exit(pytest.main([*flags.split(), seed, *MODULES]))


def settings(ifname: str, draw: random.Random) -> None:
    """Change what the driver lets one change, in any order, and put it back, and again."""
    while True:
        with Card(ifname) as card:
            known = features.features(card.device.ask).items()
            names = [name for name, one in known if one.changeable]
            for _ in range(draw.randrange(1, 20)):
                if draw.random() < 0.4:
                    sizes = {name: draw.randrange(80, 4096) for name in ("rx", "tx")}
                    card.set_rings(**sizes)
                else:
                    of = {"name": draw.choice(names)}
                    card._change("feature", draw.random() < 0.5, of)


def ended(action: Callable[[], None], seconds: float | None = None) -> int:
    """Do it in a process that is killed after so long; its exit status, or minus the signal."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            os.setsid()
            with SAID.open("w") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            action()
            status = 0
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(status)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
        with suppress(ProcessLookupError):  # it had not come to setsid()
            os.killpg(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def put_back(ifname: str, by_card: bool) -> None:
    """As the next run does, or as `nic IFACE --restore` does."""
    if by_card:
        with Card(ifname):
            return
    with Device(ifname) as device, alone(device.ifindex, ifname):
        done = restore.restore(cachedir.folder("nic"), device)
        assert not done.stuck, done.lines


def main(ifname: str, count: int, seed: int) -> None:
    """Kill it so often."""
    draw = random.Random(seed)
    change, longest = (suite, 0.0) if os.environ.get("NETIF") else (settings, 5.0)
    before = dump(ifname)
    if change is suite:
        begun = time.monotonic()
        assert not ended(partial(suite, ifname, draw)), SAID.read_text()[:4000]
        longest = time.monotonic() - begun
        assert dump(ifname) == before, "an undisturbed run leaves something"
    for number in range(count):
        status = ended(partial(change, ifname, draw), draw.uniform(0, longest))
        if status not in (0, -signal.SIGKILL):
            raise AssertionError(f"it ended with {status}: {SAID.read_text()[:4000]}")
        changed = [key for key, text in dump(ifname).items() if text != before[key]]
        restoring = partial(put_back, ifname, by_card=draw.random() < 0.5)
        again = draw.random() < 0.5
        if again:
            ended(restoring, draw.uniform(0, 0.3))
        restoring()
        now = dump(ifname)
        differs = {key: [before[key], now[key]] for key in before if now[key] != before[key]}
        left = [path.name for path in cachedir.folder("nic").iterdir()]
        line = {"number": number, "kind": change.__name__, "changed": changed, "again": again}
        print(json.dumps(line | {"differs": differs, "left": left}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
