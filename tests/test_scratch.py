"""Nothing is left behind: folders, worktrees and processes of a run that was killed go with the next one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import filterfalse
from pathlib import Path

import psutil
import pytest

from fixtures.files import scratch
from fixtures.files.partial import partial_beside
from fixtures.workers.process import Child, ChildGoneError, Command
from tests.conftest import ROOT
from tests.own_repository import git, own_repository

# A run with a worktree and a process that left its group; says so, then waits for its end.
RUN = """
import os, subprocess, sys, tempfile
tempfile.tempdir, repository = sys.argv[1:]
from pathlib import Path
from fixtures.files import scratch
from fixtures.workers.layout import lay_out
from fixtures.workers.version import Checkout, git_output
folder = scratch.new_folder("against")
lay_out(Checkout(Path(repository), git_output(Path(repository), "rev-parse", "HEAD")), folder, folder / "0" / "own")
marked = {**os.environ, scratch.VARIABLE: str(scratch.new_folder("child"))}
left = subprocess.Popen(["sleep", "1000"], env=marked, start_new_session=True)
print(left.pid, flush=True)
input()
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's runs have their folders, and no others."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(scratch, "_own", {})
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return own_repository(tmp_path / "own")


@pytest.fixture
def running(temporary: Path, own: Path) -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    """A run that is in the middle of it, and the process that it started."""
    command = [sys.executable, "-c", RUN, str(temporary), str(own)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    left = psutil.Process(int(process.stdout.readline()))
    with process:
        yield process, left
        process.kill()
        if not is_gone(left):
            left.kill()


def worktrees(repository: Path) -> int:
    return len(git(repository, "worktree", "list").splitlines())


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_the_next_run_clears_what_a_killed_one_left(
    temporary: Path, own: Path, running: tuple[subprocess.Popen[str], psutil.Process]
) -> None:
    run, left = running
    run.kill()
    run.wait()
    assert worktrees(own) == 2
    scratch.clear_leftovers()
    assert list(temporary.iterdir()) == []
    assert worktrees(own) == 1
    assert is_gone(left)


def test_a_living_run_keeps_what_it_has_and_clears_it_at_its_end(
    temporary: Path, own: Path, running: tuple[subprocess.Popen[str], psutil.Process]
) -> None:
    run, left = running
    (folder,) = temporary.iterdir()
    scratch.clear_leftovers()
    assert (folder.exists(), worktrees(own), is_gone(left)) == (True, 2, False)
    run.send_signal(signal.SIGINT)
    run.wait()
    assert (folder.exists(), worktrees(own), is_gone(left)) == (False, 1, True)


def test_nothing_else_is_touched(temporary: Path, own: Path) -> None:
    """Folders of other names, of our name without an owner's file, and worktrees that the user made."""
    for name in ("somebodys", f"{scratch.PREFIX}looks-like-it"):
        (temporary / name).mkdir()
        (temporary / name / "file").write_text("")
    git(own, "worktree", "add", "--quiet", "--detach", str(own.parent / "users"))
    (own.parent / "users").rename(own.parent / "on-a-disk-that-is-not-mounted")
    scratch.note_repository(scratch.new_folder("against"), own)
    scratch.clear(scratch.run_folder())
    scratch.clear_leftovers()
    assert {path.name for path in temporary.iterdir()} == {"somebodys", f"{scratch.PREFIX}looks-like-it"}
    assert worktrees(own) == 2


def test_a_worktree_whose_folder_somebody_removed_is_forgotten(
    temporary: Path, own: Path, running: tuple[subprocess.Popen[str], psutil.Process]
) -> None:
    """As after a restart with a fresh /tmp: the repository still lists it."""
    from fixtures.workers.layout import lay_out
    from fixtures.workers.version import Checkout

    (folder,) = temporary.iterdir()
    folder.rename(folder.with_name("gone"))
    with scratch.temporary_folder("against") as made:
        lay_out(Checkout(own, git(own, "rev-parse", "HEAD")), made, made / "0" / "own")
        assert worktrees(own) == 2
    assert worktrees(own) == 1


def crashed(temporary: Path, script: str) -> str:
    """How a child ended whose interpreter is a shell script."""
    python = temporary / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    command = Command(str(python), (), temporary, {"PATH": "/usr/bin:/bin"})
    with Child(command, timeout_s=60) as child, pytest.raises(ChildGoneError) as gone:
        child.hello()
    return str(gone.value)


@pytest.mark.parametrize("start", ["sleep {s} &", "setsid sleep {s} &", "(setsid sleep {s} & ) &"])
def test_what_a_crashed_child_started_is_gone_with_its_files(temporary: Path, start: str) -> None:
    """Also what left its group; and the child is known to be gone although that holds its pipe open."""
    seconds = str(100_000 + os.getpid())  # which no other test sleeps
    script = f'touch "${scratch.VARIABLE}/left"\n{start.format(s=seconds)}\nexit 3'
    assert "exit code 3" in crashed(temporary, script)
    sleeping = [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", seconds]]
    assert list(filterfalse(is_gone, sleeping)) == []
    assert list(scratch.run_folder().glob("child-*")) == []


WRITER = """
import os, signal, sys
from pathlib import Path
from fixtures.files.partial import partial_beside
with partial_beside(Path(sys.argv[1])) as partial:
    partial.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_beside_a_file_goes_with_the_next_one(tmp_path: Path) -> None:
    target = tmp_path / "out[1].json"
    for name in (".out[1].json.mine.tmp", "out[1].json.tmp"):  # not of ours
        (tmp_path / name).write_text("")
    killed = subprocess.run([sys.executable, "-c", WRITER, str(target)], cwd=ROOT, check=False)
    assert (killed.returncode, len(list(tmp_path.iterdir()))) == (-signal.SIGKILL, 3)
    with partial_beside(target) as first, partial_beside(target) as second:
        first.write_text("1")
        second.write_text("2")  # a living writer's is left alone
        second.replace(target)
        first.replace(target)
    assert {path.name for path in tmp_path.iterdir()} == {target.name, ".out[1].json.mine.tmp", "out[1].json.tmp"}
    assert target.read_text() == "1"
