"""One command for everything: the check says yes or no, what was interrupted goes on, the end names the report."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from fixtures import all_benchmarks
from fixtures.all_benchmarks import main, requirements
from tests.saved import detectors, save

Start = Callable[[list[str]], int]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root whose pytest is played by the test."""
    for name in ("requirements.txt", "requirements-runtimes.txt"):
        shutil.copy(all_benchmarks.ROOT / name, tmp_path / name)
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(all_benchmarks, "ROOT", tmp_path)
    monkeypatch.setattr(all_benchmarks, "_JOURNALS", tmp_path / "results" / "unfinished")
    return tmp_path


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[[Start], list[list[str]]]:
    """Replaces the pytest run; returns the commands as they are started."""
    commands: list[list[str]] = []

    def set_up(start: Start) -> list[list[str]]:
        def run(command: Sequence[str]) -> int:
            commands.append(list(command))
            return start(list(command))

        monkeypatch.setattr(all_benchmarks, "run_to_its_end", run)
        return commands

    return set_up


def json_of(command: list[str]) -> Path:
    return next(Path(text.partition("=")[2]) for text in command if text.startswith("--benchmark-json="))


def test_the_check_says_yes_or_no_for_each_requirement(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(all_benchmarks, "visible_gpu_count", lambda: 0)
    assert main(["--check", f"--out={root / 'out'}"]) == 0
    rows = {line[:25].strip(): line[25:].split() for line in capsys.readouterr().out.splitlines()}
    assert rows["Python 3.11 or newer"][0] == "yes"
    assert rows["requirements.txt"][0] == "yes"
    assert rows["an NVIDIA GPU"][0] == "no"
    assert not (root / "out").exists()


def test_without_what_is_needed_nothing_runs(
    root: Path, play: Callable[[Start], list[list[str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    commands = play(lambda _: 0)
    (root / "requirements.txt").write_text("numpy==0.1  # why\nnot-there==1.0\n")
    assert main([f"--out={root / 'out'}"]) == 2
    printed = capsys.readouterr()
    assert "NO" in printed.out
    assert "instead of 0.1; no not-there" in " ".join(printed.out.split())
    assert printed.err == "all-benchmarks: not fit: requirements.txt\n"
    assert commands == []


def test_everything_runs_in_one_report(
    root: Path, play: Callable[[Start], list[list[str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(command: list[str]) -> int:
        save(json_of(command), detectors())
        return 0

    commands = play(measure)
    assert main([f"--out={root / 'out'}", "-k", "yolo", "--pretrained"]) == 0
    (command,) = commands
    assert {"benchmarks", "--throughput", "--isolate"} <= set(command)
    assert command[-3:] == ["-k", "yolo", "--pretrained"]
    assert "--resume" not in command
    assert sorted(path.name for path in (root / "out").iterdir()) == ["report", "run.json"]
    assert "4 cases of 3 models" in (root / "out" / "report" / "report.md").read_text()
    assert capsys.readouterr().out.rstrip().endswith(f"the report: {root / 'out' / 'report' / 'report.html'}")


def test_what_was_interrupted_goes_on(
    root: Path, play: Callable[[Start], list[list[str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(command: list[str]) -> int:
        (root / "results" / "unfinished").mkdir(exist_ok=True)
        (root / "results" / "unfinished" / "1-1.jsonl").write_text("{}")
        save(json_of(command), detectors()[:1])
        return 2

    commands = play(interrupted)
    assert main([f"--out={root / 'out'}"]) == 2
    assert "the same command goes on where it was" in capsys.readouterr().err
    assert not (root / "out" / "report").exists()
    assert main([f"--out={root / 'out'}"]) == 2
    assert "--resume" in commands[1]
    assert main([f"--out={root / 'out'}", "--anew"]) == 2
    assert "--resume" not in commands[2]


def test_a_failed_case_is_in_the_report_and_in_the_exit_code(
    root: Path, play: Callable[[Start], list[list[str]]]
) -> None:
    def failing(command: list[str]) -> int:
        save(json_of(command), detectors())
        return 1

    play(failing)
    assert main([f"--out={root / 'out'}"]) == 1
    assert (root / "out" / "report" / "report.html").is_file()


def test_where_nothing_was_measured_there_is_no_report(
    root: Path, play: Callable[[Start], list[list[str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    def nothing(command: list[str]) -> int:
        json_of(command).write_text("")  # pytest-benchmark opens it before anything runs
        return 4

    play(nothing)
    assert main([f"--out={root / 'out'}"]) == 4
    assert "nothing was measured (pytest's exit code 4)" in capsys.readouterr().err
    assert list((root / "out").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "file").write_text("")
    assert main([f"--out={root / 'file' / 'out'}"]) == 2
    assert "cannot be made: Not a directory" in capsys.readouterr().err
    assert json.dumps([each.name for each in requirements(root)])


CLEANS_UP = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.default_int_handler)
try:
    print("started", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(1)
    print("cleaned up")
    sys.exit(2)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_lets_pytest_clean_up(how: signal.Signals) -> None:
    """The terminal tells the whole group of Ctrl-C; SIGTERM comes to one process, which passes it on."""
    waiting = "import sys; from fixtures.all_benchmarks import run_to_its_end as run; sys.exit(run(sys.argv[1:]))"
    command = [sys.executable, "-c", waiting, sys.executable, "-c", CLEANS_UP]
    options = {"cwd": all_benchmarks.ROOT, "text": True, "start_new_session": True}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "started\n"
        (os.killpg if how == signal.SIGINT else os.kill)(process.pid, how)
        out, err = process.communicate(timeout=60)
    assert (out, err, process.returncode) == ("cleaned up\n", "", 2)


def test_an_option_that_would_hide_the_run_is_refused(
    root: Path, play: Callable[[Start], list[list[str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    commands = play(lambda _: 0)
    assert main([f"--out={root / 'out'}", "--benchmark-json=mine.json"]) == 2
    assert "leave --benchmark-json out" in capsys.readouterr().err
    assert commands == []


def test_the_numbers_of_the_check_are_those_of_the_machine(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(memory_gb: float, load: float, disk_gb: float) -> tuple[int, dict[str, str]]:
        monkeypatch.setattr(all_benchmarks, "allowed_memory_bytes", lambda: memory_gb * 1e9)
        monkeypatch.setattr(all_benchmarks.os, "getloadavg", lambda: (load, load, load))
        usage = shutil._ntuple_diskusage(10**12, 10**12, int(disk_gb * 1e9))
        monkeypatch.setattr(all_benchmarks.shutil, "disk_usage", lambda _: usage)
        code = main(["--check", f"--out={root / 'out'}"])
        lines = capsys.readouterr().out.splitlines()
        return code, {line[:25].strip(): line[25:] for line in lines}

    code, rows = check(18, 0.0, 3)
    assert code == 0
    names = ("17 GB of memory", "an idle machine", "2 GB of disk")
    assert [rows[name].split()[0] for name in names] == ["yes"] * 3
    code, rows = check(16, 8.0, 1)
    assert code == 2  # the disk is needed, the others are advice
    assert [rows[name].split()[0].lower() for name in names] == ["no"] * 3
    code, rows = check(18, 0.0, 3)
    assert len(rows["17 GB of memory"].split()) == 3  # no remedy where none is needed
    assert "everything runs on the CPU" in rows["an NVIDIA GPU"]


def test_an_empty_run_is_no_success(root: Path, play: Callable[[Start], list[list[str]]]) -> None:
    play(lambda _: 0)
    assert main([f"--out={root / 'out'}"]) == 2
