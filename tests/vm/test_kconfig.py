# SPDX-License-Identifier: GPL-2.0
from pathlib import Path

import pytest

from lib.trouble import Trouble
from lib.vm import kconfig


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with a few options."""
    (tmp_path / "Kconfig").write_text(
        "config BPF_JIT\n\tbool\n\tdepends on MODULES && !TINY\n\nconfig MODULES\n\tbool\n"
    )
    foreign = tmp_path / "arch" / "arm"
    foreign.mkdir(parents=True)
    (foreign / "Kconfig").write_text("config ARM_ONLY\n\tbool\n")
    return tmp_path


def test_parse_knows_unset_and_strings():
    text = '# comment\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C="x=y"\n'
    assert kconfig.parse(text) == {"CONFIG_A": "y", "CONFIG_B": "n", "CONFIG_C": '"x=y"'}


def test_all_survived(tree: Path):
    wanted = "CONFIG_MODULES=y\n# CONFIG_BPF_JIT is not set\n"
    assert kconfig.check(wanted, "CONFIG_MODULES=y\n", tree) == kconfig.Lost({}, [])


def test_dropped_option_is_named_with_what_it_misses(tree: Path):
    lost = kconfig.check("CONFIG_BPF_JIT=y\n", "# CONFIG_MODULES is not set\n", tree)
    assert list(lost.dropped) == ["CONFIG_BPF_JIT"]
    assert "not set: MODULES)" in lost.dropped["CONFIG_BPF_JIT"]


def test_option_that_the_tree_does_not_have(tree: Path):
    lost = kconfig.check("CONFIG_NEVER=y\nCONFIG_ARM_ONLY=y\n", "", tree)
    assert lost == kconfig.Lost({}, ["CONFIG_ARM_ONLY", "CONFIG_NEVER"])


def test_changed_value_is_lost(tree: Path):
    lost = kconfig.check("CONFIG_MODULES=y\n", "CONFIG_MODULES=m\n", tree)
    assert "wanted y, came out m" in lost.dropped["CONFIG_MODULES"]


def test_later_lines_win():
    assert kconfig.parse("CONFIG_A=y\n# CONFIG_A is not set\n") == {"CONFIG_A": "n"}


@pytest.mark.parametrize("profile", kconfig.PROFILES)
def test_every_profile_has_what_the_suite_needs(profile: str):
    options = kconfig.parse(kconfig.fragment(profile))
    for name in ("IO_URING", "VETH", "NET_NS", "DEBUG_FS", "VIRTIO_CONSOLE", "IO_URING_ZCTAP"):
        assert options[f"CONFIG_{name}"] == "y"


def test_unknown_profile_is_trouble():
    with pytest.raises(Trouble, match="plain, cover, debug"):
        kconfig.fragment("fast")
