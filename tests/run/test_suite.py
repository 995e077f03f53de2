# SPDX-License-Identifier: GPL-2.0
"""What goes into the archive for the guest, and what of it is kept compiled."""

import io
import tarfile
from pathlib import Path

import pytest

from lib.run import suite
from lib.run.bytecode import Bytecode
from lib.trouble import Trouble


@pytest.fixture(autouse=True)
def cache_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def names(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return tar.getnames()


def test_archive_holds_the_suite_and_not_the_host_s_side():
    found = names(suite.archive({}, Bytecode("image")))
    assert "conftest.py" in found
    assert "lib/report/plugin.py" in found
    assert not [name for name in found if name.startswith(("lib/vm", "lib/run", "tests/"))]
    assert not [name for name in found if "__pycache__" in name]


def test_same_files_make_the_same_archive():
    assert suite.archive({}, Bytecode("image")) == suite.archive({}, Bytecode("image"))


def test_bytecode_comes_back_for_the_same_file_only(tmp_path: Path):
    test = tmp_path / "test_x.py"
    test.write_text("A = 1\n")
    extra = {"outside/test_x.py": test}
    compiled = "outside/__pycache__/test_x.cpython-311-pytest-9.pyc"
    bytecode = Bytecode("image")
    assert compiled not in names(suite.archive(extra, bytecode))
    bytecode.keep(tar_of({compiled: b"code", "outside/__pycache__/other.cpython-311.pyc": b""}))
    assert compiled in names(suite.archive(extra, Bytecode("image")))
    assert compiled not in names(suite.archive(extra, Bytecode("another image")))
    test.write_text("A = 2\n")
    assert compiled not in names(suite.archive(extra, Bytecode("image")))


def test_selection_of_the_suite_s_own_and_of_others(tmp_path: Path):
    outside = tmp_path / "test_x.py"
    outside.touch()
    own = str(suite.ROOT / "selftests" / "zctap")
    selection = suite.select([own, f"{outside}::test_y[1]"])
    assert selection.guest == ["selftests/zctap", "outside/test_x.py::test_y[1]"]
    assert selection.host == ["selftests/zctap", f"{outside}::test_y[1]"]
    assert selection.extra == {"outside/test_x.py": outside}


def test_two_files_of_one_name_are_not_one(tmp_path: Path):
    paths = [tmp_path / folder / "test_x.py" for folder in "ab"]
    for path in paths:
        path.parent.mkdir()
        path.touch()
    with pytest.raises(Trouble, match=r"a/test_x.py and .*/b/test_x.py: of one name"):
        suite.select([str(path) for path in paths])
    twice = suite.select([f"{paths[0]}::test_a", f"{paths[0]}::test_b"])
    assert twice.guest == ["outside/test_x.py::test_a", "outside/test_x.py::test_b"]


def test_selection_of_nothing_is_trouble(tmp_path: Path):
    with pytest.raises(Trouble, match="no such test file"):
        suite.select([str(tmp_path / "none.py")])
