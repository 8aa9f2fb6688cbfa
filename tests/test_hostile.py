"""Models that end, hang, crash, fork, close and replace, a file each: one line of theirs, and the others are measured.

Minutes, since most of them cost a process: `make test-all`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

FOLDER = Path(__file__).parent / "hostile"
MEASURED = ""
# What the line of each says; of those that are put back, nothing: they are measured.
SAYS = {
    "aborts": "SIGABRT",
    "becomes_true": "exit code 0",
    "closes_everything": "crashed: its process ended with exit code 1",
    "closes_stdout": MEASURED,
    "closes_streams": MEASURED,
    "deletes_torch": MEASURED,
    "exit_of_its_own": "DoneError: 0 (exit_of_its_own.py:",
    "exits_at_build": "exit code 0",
    "exits_at_exit": MEASURED,
    "exits_at_import": "exit code 0",
    "exits_in_first_call": "exit code 0",
    "exits_in_inputs": "exit code 0",
    "exits_in_later_call": "exit code 0",
    "forks": "came back twice",
    "generator_exit": "GeneratorExit (generator_exit.py:",
    "hangs_in_c": "no sign of life for 20 s (--case-timeout), killed",
    "hangs_in_python": "no sign of life for 20 s (--case-timeout), killed",
    "ignores_signals": MEASURED,
    "keyboard_interrupt": "KeyboardInterrupt (keyboard_interrupt.py:",
    "kills_itself": "SIGKILL",
    "leaves_a_daemon": MEASURED,
    "long_error": "RuntimeError: \\x1b[2J\\x1b]0;title\\x07spoilt (long_error.py:",
    "memory_error": "out of memory",
    "not_a_number": "holds NaN or infinity",
    "pytest_exit": "Exit: enough (pytest_exit.py:",
    "pytest_fail": "Failed: I fail (pytest_fail.py:",
    "pytest_skip": "Skipped: not today (pytest_skip.py:",
    "raises_in_del": MEASURED,
    "raises_in_eval": "RuntimeError: it is broken (raises_in_eval.py:",
    "raises_in_repr": MEASURED,
    "raises_in_state_dict": "RuntimeError",
    "raises_in_to": "RuntimeError: it is broken (raises_in_to.py:",
    "recurses": "RecursionError",
    "removes_its_folder": MEASURED,
    "replaces_call": MEASURED,
    "replaces_clock": MEASURED,
    "replaces_matmul": MEASURED,
    "replaces_open": "OSError: no file today (replaces_open.py:",
    "segfaults": "SIGSEGV",
    "sys_exit_text": "SystemExit: that will do (sys_exit_text.py:",
    "sys_exit_zero": "SystemExit: 0 (sys_exit_zero.py:",
    "terminates_itself": "SIGTERM",
    "thread_goes_on": MEASURED,
    "unreadable_error": "its message cannot be read",
    "warnings_as_errors": MEASURED,
    "wrong_shape": "RuntimeError: mat1 and mat2",
}


def command(*names: str) -> list[str]:
    models = [f"--model=hostile/{name}.py:{name}" for name in names]
    options = ["-k", "custom", "--batch=1", "--iters=3", "--warmup=0", "--imgsz=32", "--case-timeout=20"]
    return [sys.executable, "-m", "pytest", "benchmarks", *options, "--benchmark-json=out.json", *models]


def lines_of(name: str, printed: str) -> list[str]:
    """Of the short summary."""
    return re.findall(rf"^(?:FAILED|ERROR) \S+\[{name}-\S*\].*$", printed, re.MULTILINE)


def processes_in(folder: Path) -> list[tuple[int, int, list[str]]]:
    """Whose working directory, or command, is there, also what is nobody's child any more: id, parent's id, command."""
    found = []
    for process in psutil.process_iter(["cwd", "cmdline", "status"]):
        about = [str(process.info["cwd"]), *(process.info["cmdline"] or [])]
        ours = process.pid == os.getpid() or process.info["status"] == psutil.STATUS_ZOMBIE
        if not ours and any(str(folder) in each for each in about):
            found.append((process.pid, process.ppid(), process.info["cmdline"]))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("how", [(), ("--isolate",)], ids=["plain", "isolated"])
def test_each_is_one_line_and_the_others_are_measured(project: pytest.Pytester, how: tuple[str, ...]) -> None:
    shutil.copytree(FOLDER, project.path / "hostile")
    names = ("good_first", *SAYS, "good_last")
    done = subprocess.run(
        [*command(*names), *how],
        cwd=project.path,
        env={**os.environ, "COLUMNS": "300"},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    said = {name: lines_of(name, done.stdout) for name in SAYS}
    saved = {each["extra_info"]["model"] for each in json.loads((project.path / "out.json").read_text())["benchmarks"]}
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    assert saved == {"good_first", "good_last", *(name for name, line in SAYS.items() if line is MEASURED)}
    assert {name: len(lines) for name, lines in said.items()} == {name: int(bool(SAYS[name])) for name in SAYS}
    assert [(lines, SAYS[name]) for name, lines in said.items() if lines and SAYS[name] not in lines[0]] == []
    for trouble in ("Traceback", "INTERNALERROR", "\x1b[2J"):
        assert trouble not in done.stdout + done.stderr
    assert processes_in(project.path) == []
    assert not (project.path / "results/unfinished").exists()


def test_each_file_is_tried() -> None:
    files = {file.stem for file in FOLDER.glob("*.py")} - {"small", "good_first", "good_last"}
    assert files == SAYS.keys()
