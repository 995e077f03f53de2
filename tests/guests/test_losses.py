# SPDX-License-Identifier: GPL-2.0
"""Guests that are made to crash, hang and vanish: each loss has its word and its test, and the
tests after it run all the same.
"""

import os
import signal

import pytest

from lib.deadline import wait_until
from tests.guests.conftest import Runner

# The test that does the harm is neither the first nor the last, whatever the order.
MODULE = """
import os, signal, time
from pathlib import Path
import pytest

@pytest.mark.parametrize("number", range(2))
def test_before(number): pass

def test_harm():
    {harm}

@pytest.mark.parametrize("number", range(2))
def test_after(number): pass
"""
OTHERS = ("test_before[0]", "test_before[1]", "test_after[0]", "test_after[1]")
PROVOKE = "Path('/sys/kernel/debug/provoke-crash/DIRECT').write_text('{}')"
HANG = "time.sleep(3600)"


SHORT = "Path('/proc/sys/kernel/watchdog_thresh').write_text('1'); "
BROKEN = "ends = os.pipe(); os.close(ends[0]); os.write(ends[1], b'x')"
FILL = "[Path(f'/tmp/{n}').write_bytes(bytes(1 << 26)) for n in range(99)]"


@pytest.mark.parametrize(
    ("harm", "word", "said"),
    [
        pytest.param(PROVOKE.format("PANIC"), "panic", "dumptest", id="panic"),
        pytest.param(PROVOKE.format("EXCEPTION"), "oops", "NULL pointer", id="oops"),
        pytest.param(PROVOKE.format("BUG"), "oops", "kernel BUG at", id="bug"),
        pytest.param(SHORT + PROVOKE.format("SOFTLOCKUP"), "lockup", "hung tasks", id="lockup"),
        pytest.param("[bytearray(1 << 24) for _ in range(999)]", "oom", "of memory", id="memory"),
        pytest.param("os.kill(os.getpid(), signal.SIGSEGV)", "crashed", "SIGSEGV", id="signal"),
        pytest.param("os._exit(0)", "crashed", "with status 0", id="exit"),
        pytest.param(FILL, "failed", "No space left", id="disk"),
        pytest.param(BROKEN, "failed", "Broken pipe", id="pipe"),
    ],
)
def test_loss_has_its_word(runner: Runner, harm: str, word: str, said: str):
    found = runner(MODULE.format(harm=harm))
    assert found.verdicts == dict.fromkeys(OTHERS, "ok") | {"test_harm": word}, found.said
    assert said in found.ktap
    assert found.status == 1


@pytest.mark.parametrize(
    ("harm", "word"),
    [(HANG, "timeout"), (PROVOKE.format("HARDLOCKUP"), "lockup")],
    ids=["sleep", "interrupts-off"],
)
def test_hang_has_its_word(runner: Runner, harm: str, word: str):
    found = runner(MODULE.format(harm=harm), "--timeout", "3")
    assert found.verdicts == dict.fromkeys(OTHERS, "ok") | {"test_harm": word}, found.said
    assert found.status == 1


@pytest.mark.parametrize(
    ("signum", "word"), [(signal.SIGKILL, "qemu"), (signal.SIGSTOP, "silent")], ids=str
)
def test_guest_that_vanishes(runner: Runner, signum: signal.Signals, word: str):
    run = runner.start(MODULE.format(harm=HANG), "--timeout", "10")
    run.wait_until(lambda: run.has_begun("test_harm"), "the test began")
    for guest in run.guests():
        os.kill(guest, signum)
    found = run.finish()
    assert found.verdicts == dict.fromkeys(OTHERS, "ok") | {"test_harm": word}, found.said
    assert found.status == 1


def test_interrupt_leaves_a_partial_report(runner: Runner):
    run = runner.start(MODULE.format(harm=HANG))
    run.wait_until(lambda: run.has_begun("test_harm"), "the test began")
    run.process.send_signal(signal.SIGINT)
    found = run.finish()
    assert found.verdicts["test_harm"] == "interrupted"
    assert set(found.verdicts) == {*OTHERS, "test_harm"}
    assert set(found.verdicts.values()) <= {"ok", "interrupted", "not"}
    assert found.status == 130
    assert "Traceback" not in found.said
    assert not run.guests()


def test_killed_runner_leaves_no_guest(runner: Runner):
    run = runner.start(MODULE.format(harm=HANG))
    run.wait_until(lambda: run.has_begun("test_harm"), "the test began")
    run.process.kill()
    run.process.wait()
    wait_until(lambda: not run.guests(), "the guest is gone")
