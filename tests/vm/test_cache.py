# SPDX-License-Identifier: GPL-2.0
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lib.trouble import Trouble
from lib.vm import cache


@pytest.fixture(autouse=True)
def cache_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return cache.root()


def leftovers() -> list[Path]:
    return list((cache.root() / "tmp").iterdir())


def test_published_entry_is_found():
    with cache.publish("kernel", "k1") as staging:
        (staging / "bzImage").write_text("image")
        assert cache.entry("kernel", "k1") is None
    found = cache.entry("kernel", "k1")
    assert found and (found / "bzImage").read_text() == "image"
    assert not leftovers()


def test_failure_publishes_nothing():
    with pytest.raises(KeyError), cache.publish("kernel", "k1") as staging:
        (staging / "half").write_text("done")
        raise KeyError
    assert cache.entry("kernel", "k1") is None
    assert not leftovers()


def test_first_of_two_publishers_wins():
    with cache.publish("kernel", "k1") as slow:
        (slow / "who").write_text("slow")
        with cache.publish("kernel", "k1") as fast:
            (fast / "who").write_text("fast")
    found = cache.entry("kernel", "k1")
    assert found and (found / "who").read_text() == "fast"
    assert not leftovers()


def test_full_disk_is_one_line():
    with pytest.raises(Trouble, match="no space left"), cache.publish("kernel", "k1"):
        raise OSError(28, "No space left on device")


def test_space_is_checked():
    cache.need_space(Path("/"), 1, "a byte")
    with pytest.raises(Trouble, match=r"a lot needs .* GiB"):
        cache.need_space(Path("/"), 1 << 62, "a lot")


def test_unwritable_cache_is_trouble(cache_root: Path):
    cache_root.write_text("a file where a directory should be")
    with pytest.raises(Trouble, match="set XDG_CACHE_HOME"):
        cache.folder("kernel")


def test_home_may_be_relative_but_has_to_be_known(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "here")
    assert cache.root() == Path.cwd() / "here" / ".cache" / "zctap-selftests"
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)  # of nobody
    with pytest.raises(Trouble, match="set HOME, or XDG_CACHE_HOME"):
        cache.root()


def test_key_keeps_parts_apart(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"c")
    assert cache.key_of("ab", "c") != cache.key_of("a", "bc")
    assert cache.key_of("ab", tmp_path / "file") == cache.key_of("ab", "c")


def test_sweep_removes_what_dead_runs_left():
    tmp = cache.folder("tmp")
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    mine = cache.mine("x")
    _, place, _ = mine.name.split("-")
    mine.mkdir()
    (tmp / f"{child.pid}-{place}-dead").mkdir()
    # Of another machine that has the same home, where that pid may be alive.
    other = tmp / f"{child.pid}-{place[::-1]}-x"
    other.mkdir()
    abandoned = tmp / f"{child.pid}-{place[::-1]}-old"
    abandoned.mkdir()
    os.utime(abandoned, (1, 1))
    cache.sweep()
    assert set(leftovers()) == {mine, other}


def test_prune_keeps_the_latest():
    for number in range(4):
        with cache.publish("image", f"k{number}"):
            pass
        os.utime(cache.root() / "image" / f"k{number}", (number, number))
    assert cache.entry("image", "k0")  # used now, so the latest
    cache.prune("image", keep=2)
    assert sorted(path.name for path in (cache.root() / "image").iterdir()) == ["k0", "k3"]


def test_prune_keeps_what_is_new_when_the_clock_was_set_back():
    far = time.time() + 1e6
    for number in range(3):
        with cache.publish("image", f"k{number}"):
            pass
        os.utime(cache.root() / "image" / f"k{number}", (far, far))
    with cache.publish("image", "new"):
        pass
    cache.prune("image", keep=2)
    assert cache.entry("image", "new")


def test_prune_spares_what_it_is_told_to():
    for number in range(4):
        (cache.folder("log") / str(number)).touch()
        os.utime(cache.folder("log") / str(number), (number, number))
    cache.prune("log", 1, spare=lambda path: path.name == "0")
    assert sorted(path.name for path in cache.folder("log").iterdir()) == ["0", "3"]


def test_what_is_in_use_is_kept_and_nobody_else_s_files_are_touched(tmp_path: Path):
    for number in range(3):
        with cache.publish("given", f"k{number}") as staging:
            (staging / "bzImage").touch()
        os.utime(cache.root() / "given" / f"k{number}", (number, number))
    cache.used(cache.root() / "given" / "k0" / "bzImage")
    cache.prune("given", keep=1)
    assert [path.name for path in (cache.root() / "given").iterdir()] == ["k0"]
    other = tmp_path / "boot" / "a" / "bzImage"
    other.parent.mkdir(parents=True)
    os.utime(other.parent, (1, 1))
    cache.used(other)
    cache.used(Path("/vmlinuz"))
    assert other.parent.stat().st_mtime == 1


def test_lock_excludes_another_process():
    attempt = (
        "import fcntl, sys; fcntl.flock(open(sys.argv[1], 'w'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    )
    command = [sys.executable, "-c", attempt, str(cache.root() / "lock" / "x.lock")]
    with cache.lock("x"):
        assert subprocess.run(command, capture_output=True, check=False).returncode
    assert not subprocess.run(command, check=False).returncode


def test_several_may_prune_at_once():
    for number in range(300):
        (cache.folder("log") / str(number)).touch()
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(cache.prune, "log", 40) for _ in range(8)]:
            done.result()
    assert len(list(cache.folder("log").iterdir())) == 40
