"""The environment is looked at before anything runs; one program has every command."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fixtures import check
from fixtures.__main__ import main as command
from fixtures.check import main


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with requirements of its own."""
    for name in ("requirements.txt", "requirements-runtimes.txt"):
        shutil.copy(check.ROOT / name, tmp_path / name)
    monkeypatch.setattr(check, "ROOT", tmp_path)
    return tmp_path


def test_the_check_says_yes_or_no_for_each_requirement(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "visible_gpu_count", lambda: 0)
    assert main([f"--out={root / 'out'}"]) == 0
    rows = {line[:25].strip(): line[25:].split() for line in capsys.readouterr().out.splitlines()}
    assert rows["Python 3.11 or newer"][0] == "yes"
    assert rows["requirements.txt"][0] == "yes"
    assert rows["an NVIDIA GPU"][0] == "no"
    assert not (root / "out").exists()


def test_without_what_is_needed_nothing_runs(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "requirements.txt").write_text("numpy==0.1  # why\nnot-there==1.0\n")
    assert main([f"--out={root / 'out'}"]) == 2
    printed = capsys.readouterr()
    assert "NO" in printed.out
    assert "instead of 0.1; no not-there" in " ".join(printed.out.split())
    assert printed.err == "check: not fit: requirements.txt\n"


def test_the_numbers_of_the_check_are_those_of_the_machine(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def checked(memory_gb: float, load: float, disk_gb: float) -> tuple[int, dict[str, str]]:
        monkeypatch.setattr(check, "allowed_memory_bytes", lambda: memory_gb * 1e9)
        monkeypatch.setattr(check.os, "getloadavg", lambda: (load, load, load))
        usage = shutil._ntuple_diskusage(10**12, 10**12, int(disk_gb * 1e9))
        monkeypatch.setattr(check.shutil, "disk_usage", lambda _: usage)
        code = main([f"--out={root / 'out'}"])
        lines = capsys.readouterr().out.splitlines()
        return code, {line[:25].strip(): line[25:] for line in lines}

    code, rows = checked(18, 0.0, 3)
    assert code == 0
    names = ("17 GB of memory", "an idle machine", "2 GB of disk")
    assert [rows[name].split()[0] for name in names] == ["yes"] * 3
    code, rows = checked(16, 8.0, 1)
    assert code == 2  # the disk is needed, the others are advice
    assert [rows[name].split()[0].lower() for name in names] == ["no"] * 3
    code, rows = checked(18, 0.0, 3)
    assert len(rows["17 GB of memory"].split()) == 3  # no remedy where none is needed
    assert "everything runs on the CPU" in rows["an NVIDIA GPU"]


@pytest.mark.parametrize("name", ["gate", "report", "history", "show", "fetch", "check"])
def test_every_command_teaches_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        command([name, "--help"])
    assert capsys.readouterr().out.startswith(f"usage: python -m fixtures {name} ")


def test_what_is_no_command_is_said_with_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["gait"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("no command 'gait'; usage: python -m fixtures COMMAND")
    assert "  history   where a metric shifted" in said
    assert command([]) == 2
    assert command(["--help"]) == 0
