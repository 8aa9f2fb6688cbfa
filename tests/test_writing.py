"""Whether a file can be written, found out without harm; and that one which cannot leaves the one before."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from fixtures.files import writing
from fixtures.files.caches import caches
from fixtures.files.writing import WriteError, file_problem, folder_problem, write_atomically


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with everything in it that cannot be written."""
    (tmp_path / "file").write_text("before")
    (tmp_path / "locked").write_text("before")
    (tmp_path / "locked").chmod(0o444)
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("file", None),
        ("new", None),
        ("folder/new", None),
        ("folder", "is a folder"),
        ("locked", "is read-only"),
        ("dangling", "is a link to 'nowhere', which is not there"),
        ("loop", "is a link to 'loop', which is not there"),
        ("file/x", "file', which is no folder"),
        ("nowhere/x", "nowhere', which does not exist"),
        ("dangling/x", "does not exist"),
        ("/proc/x", "which cannot be written: No such file or directory"),
        ("/dev/null", None),
        ("/dev/full", "cannot be written: No space left on device"),
        ("x" * 300, "cannot be written: File name too long"),
    ],
)
def test_a_file_that_cannot_be_written_is_known_before(place: Path, path: str, problem: str | None) -> None:
    before = names(place)
    found = file_problem(place / path)
    assert found is None if problem is None else found is not None and problem in found
    assert names(place) == before
    assert (place / "file").read_text() == "before"


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("folder", None),
        ("folder/new/deep", None),
        ("file", "is a file"),
        ("file/x/y", "file' is no folder"),
        ("dangling", "is a link to 'nowhere', which is not there"),
        ("dangling/x", "dangling' is no folder"),
        ("/proc/x/y", "cannot be written: No such file or directory"),
    ],
)
def test_a_folder_that_cannot_be_made_is_known_before(place: Path, path: str, problem: str | None) -> None:
    before = names(place)
    found = folder_problem(place / path)
    assert found is None if problem is None else found is not None and problem in found
    assert names(place) == before


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_is_tried_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int) -> None:
    """Permissions say nothing of a read-only mount or a full disk; a file of some size does, and is gone again."""

    def full(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(writing.os, "fsync", full)
    assert folder_problem(tmp_path) == f"cannot be written: {os.strerror(number)}"
    assert names(tmp_path) == []


def test_a_full_disk_leaves_the_file_before_and_nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "out.json").write_text("before")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(writing.os, "fsync", full)
        with pytest.raises(WriteError, match=r"out.json' cannot be written: No space left on device"):
            write_atomically(tmp_path / "out.json", b"after")
    assert (tmp_path / "out.json").read_text() == "before"
    assert names(tmp_path) == ["out.json"]


def test_a_file_and_its_folder_are_synced_and_the_file_is_replaced_between(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done: list[str] = []
    (tmp_path / "real.json").write_text("before")
    (tmp_path / "real.json").chmod(0o640)
    (tmp_path / "link.json").symlink_to("real.json")
    replace = Path.replace
    monkeypatch.setattr(writing.os, "fsync", lambda handle: done.append(os.readlink(f"/proc/self/fd/{handle}")))
    monkeypatch.setattr(Path, "replace", lambda self, target: (done.append("replaced"), replace(self, target))[1])
    write_atomically(tmp_path / "link.json", b"after")
    assert [done[0].startswith(f"{tmp_path}/.real.json."), *done[1:]] == [True, "replaced", str(tmp_path)]
    assert (tmp_path / "link.json").is_symlink()
    assert ((tmp_path / "real.json").read_text(), (tmp_path / "real.json").stat().st_mode & 0o777) == ("after", 0o640)


def test_what_is_mounted_by_itself_is_written_into(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def busy(*_: Any) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    (tmp_path / "out.json").write_text("before")
    monkeypatch.setattr(Path, "replace", busy)
    write_atomically(tmp_path / "out.json", b"after")
    assert (names(tmp_path), (tmp_path / "out.json").read_text()) == (["out.json"], "after")


def test_a_device_is_written_to_and_never_replaced() -> None:
    write_atomically(Path("/dev/null"), b"x")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(WriteError, match="No space left"):
        write_atomically(Path("/dev/full"), b"x")
    assert Path("/dev/full").is_char_device()


def test_caches_lie_elsewhere_where_results_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The same place each time, so that an interrupted run is found again, and nobody else's."""
    root, other = tmp_path / "root", tmp_path / "tmp"
    other.mkdir()
    root.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(other))
    assert caches(root, "inputs").folder == root / "results" / "inputs"
    (root / "results").write_text("in the way")
    found = caches(root, "inputs")
    assert found == caches(root, "inputs")
    assert found.folder.is_relative_to(other)
    assert "results' is no folder" in str(found.why_elsewhere)
    (other / found.folder.parent.name).rmdir()
    (other / found.folder.parent.name).symlink_to(tmp_path)
    assert caches(root).folder not in (tmp_path, found.folder.parent)
