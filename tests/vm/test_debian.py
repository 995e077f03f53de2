# SPDX-License-Identifier: GPL-2.0
"""Which of Debian's kernel packages a version means, and what belongs to it."""

import pytest

from lib.vm import debian
from lib.vm.apt import Package

PACKAGES = [
    Package("linux-image-6.1.0-9-amd64", "6.1.27-1"),
    Package("linux-image-6.1.0-50-amd64", "6.1.176-1"),
    Package("linux-image-6.1.0-50-rt-amd64", "6.1.176-1"),
    Package("linux-image-6.1.0-50-cloud-amd64", "6.1.176-1"),
    Package("linux-image-6.1.0-50-amd64-dbg", "6.1.176-1"),
    Package("linux-image-6.12.43+deb13-amd64", "6.12.43-1"),
    Package("linux-image-7.3.4+deb13-amd64", "7.3.4-1~bpo13+1"),
    Package("linux-image-amd64", "7.3.4-1"),
]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("6.1", ["6.1.0-9", "6.1.0-50"]),
        ("6.1.0-50", ["6.1.0-50"]),
        ("6.1.176-1", ["6.1.0-50"]),
        ("6.1.17", []),
        ("6", ["6.1.0-9", "6.1.0-50", "6.12.43+deb13"]),
        ("7.3.4+deb13", ["7.3.4+deb13"]),
        ("linux-image-7.3.4+deb13-amd64", ["7.3.4+deb13"]),
        ("linux-image-amd64", []),
        ("99", []),
        (".*", []),
    ],
)
def test_a_version_is_the_start_of_one(wanted: str, found: list[str]):
    names = [package.name for package in debian.matching(wanted, PACKAGES)]
    assert names == [f"linux-image-{version}-amd64" for version in found]


def test_the_newest_is_so_by_debian_s_own_order():
    one, other = PACKAGES[0], PACKAGES[1]
    assert debian._compare(one, other) == -1
    assert debian._compare(other, one) == 1
    assert debian._compare(one, one) == 0


def test_what_there_is_can_be_told():
    assert debian.series(PACKAGES) == ["6.1", "6.12", "7.3"]


def test_parts_are_those_of_the_same_build():
    needs = (
        "dracut | initramfs-tools (>= 0.120+deb8u2) | linux-initramfs-tool,"
        " linux-base-7.3.4+deb13-amd64 (= 7.3.4-1), linux-binary-7.3.4+deb13-amd64 (= 7.3.4-1),"
        " linux-modules-7.3.4+deb13-amd64 (= 7.3.4-1), linux-modules-7.3.4+deb13-amd64-x"
    )
    package = Package("linux-image-7.3.4+deb13-amd64", "7.3.4-1", needs)
    parts = ["linux-binary-7.3.4+deb13-amd64", "linux-modules-7.3.4+deb13-amd64"]
    assert debian._parts(package) == parts
    assert debian._parts(PACKAGES[0]) == []
