# SPDX-License-Identifier: GPL-2.0
"""Fault injection, on files made here: what is set is put back, and what failed is told."""

from pathlib import Path

import pytest

from lib.faults import MEMORY, PAGES, USERCOPY, Faults, NoFaults

BEFORE = {
    "probability": "3",
    "verbose": "2",
    "interval": "1",
    "space": "0",
    "task-filter": "N",
    "ignore-gfp-wait": "Y",
    "ignore-gfp-highmem": "Y",
    "cache-filter": "N",
    "min-order": "1",
    "times": "-1",
}


@pytest.fixture
def debugfs(tmp_path: Path) -> Path:
    for site in (MEMORY, PAGES, USERCOPY):
        (tmp_path / site).mkdir()
        for key, value in BEFORE.items():
            (tmp_path / site / key).write_text(value + "\n")
    return tmp_path


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "fail-nth").write_text("0\n")
    (tmp_path / "make-it-fail").write_text("0\n")
    return tmp_path


def settings(debugfs: Path) -> list[dict[str, str]]:
    return [
        {key: (debugfs / site / key).read_text().strip() for key in BEFORE}
        for site in (MEMORY, PAGES, USERCOPY)
    ]


def test_settings_are_put_back(debugfs: Path, proc: Path) -> None:
    faults = Faults(debugfs, proc)
    assert settings(debugfs) != [BEFORE] * 3
    with faults.atomic_failure(100) as failed:
        assert not failed()
        assert (debugfs / MEMORY / "probability").read_text() == "100"
    assert (debugfs / MEMORY / "probability").read_text() == "0"
    faults.close()
    assert settings(debugfs) == [BEFORE] * 3


def test_chosen_cache_is_put_back(debugfs: Path, proc: Path, tmp_path: Path) -> None:
    (tmp_path / "heads").mkdir()
    chosen = tmp_path / "heads" / MEMORY
    chosen.write_text("0\n")
    faults = Faults(debugfs, proc, tmp_path)
    before = settings(debugfs)
    with faults.cache_failure("heads", 5, 3) as failed:
        assert chosen.read_text() == "1"
        during = settings(debugfs)[0]
        assert [during[key] for key in ("cache-filter", "probability", "times")] == ["Y", "3", "5"]
        (debugfs / MEMORY / "times").write_text("2")
        assert failed() == 3
    assert (chosen.read_text(), settings(debugfs)) == ("0", before)
    chosen.write_text("1")  # by slub_debug, at boot
    with faults.cache_failure("heads", 5):
        pass
    assert chosen.read_text() == "1"
    with pytest.raises(NoFaults, match="slub_debug"), faults.cache_failure("none", 1):
        pass
    assert settings(debugfs) == before
    faults.close()


def test_a_shot_that_misses_ends_the_row(debugfs: Path, proc: Path) -> None:
    faults = Faults(debugfs, proc)
    seen = [shot.run(lambda: 7).value for shot in faults.shots()]
    assert seen == [7]
    faults.close()


def test_shot_tells_what_failed(debugfs: Path, proc: Path) -> None:
    faults = Faults(debugfs, proc)
    times = debugfs / MEMORY / "times"

    def call() -> None:
        times.write_text(str(int(times.read_text()) - 1))
        raise OSError(12, "no memory")

    for shot, misses in zip(faults.shots(), [False, True], strict=False):
        shot.run((lambda: None) if misses else call)
        assert (shot.sites, shot.error) == ((set(), 0) if misses else ({MEMORY}, 12))
    faults.close()


@pytest.mark.parametrize("site", [MEMORY, PAGES, USERCOPY])
def test_missing_option_is_named(debugfs: Path, proc: Path, site: str) -> None:
    (debugfs / site / "times").unlink()
    with pytest.raises(NoFaults, match=r"CONFIG_FA\w+"):
        Faults(debugfs, proc)


def test_settings_are_put_back_where_something_else_is_missing(debugfs: Path, proc: Path) -> None:
    (debugfs / USERCOPY / "verbose").unlink()
    with pytest.raises(NoFaults):
        Faults(debugfs, proc)
    (debugfs / USERCOPY / "verbose").write_text("2")
    assert settings(debugfs) == [BEFORE] * 3
