"""Whole plain runs as processes: what a model does to its process is its case's failure, nothing finished is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fixtures.workers.endings import place_in
from fixtures.workers.journal import Journal, abandoned, folder
from tests.conftest import OWN, ROOT, Run
from tests.test_sweeps import children_of

MODELS = """
import ctypes, os, pathlib, signal, sys, time
import pytest
from torch import nn

class Net(nn.Module):
    def __init__(self, before=lambda: None):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.before = before

    def forward(self, x):
        self.before()
        return self.linear(x[..., :4])

def interrupt():
    raise KeyboardInterrupt

def hang_once():
    if not pathlib.Path("hanging").exists():
        pathlib.Path("hanging").touch()
        time.sleep(3600)

def first():
    with open("built", "a") as file:
        file.write("x")
    return Net()
def leaves(): return Net(lambda: os._exit(0))
def ends(): return Net(lambda: sys.exit(0))
def skips(): return Net(lambda: pytest.skip("not today"))
def quits(): return Net(lambda: pytest.exit("enough", returncode=0))
def interrupts(): return Net(interrupt)
def terminates(): return Net(lambda: os.kill(os.getpid(), signal.SIGTERM))
def forks(): return Net(os.fork)
def segfaults(): return Net(lambda: ctypes.string_at(0))
def last(): return Net()
def hangs(): return Net(hang_once)
def stuck(): return Net(lambda: time.sleep(3600))
"""


def command(*names: str) -> list[str]:
    models = [f"--model=mine.py:{name}" for name in names]
    options = ["-k", "custom", "--batch=1", "--iters=3", "--warmup=0", "--imgsz=32", "--benchmark-json=out.json"]
    return [sys.executable, "-m", "pytest", "benchmarks", *options, *models]


def saved_models(folder: Path) -> list[str]:
    return [each["extra_info"]["model"] for each in json.loads((folder / "out.json").read_text())["benchmarks"]]


@pytest.mark.slow
def test_whatever_a_model_does_to_its_process_the_others_are_measured(project: pytest.Pytester) -> None:
    project.makepyfile(mine=MODELS)
    names = ("first", "leaves", "ends", "skips", "quits", "interrupts", "terminates", "forks", "segfaults")
    names = (*names, "stuck", "last")
    done = subprocess.run(
        [*command(*names), "--case-timeout=20"], cwd=project.path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout
    assert saved_models(project.path) == ["first", "last"]
    for line in (
        "crashed: its process ended with exit code 0; it held",
        "SystemExit: 0 (mine.py:",
        "Skipped: not today (mine.py:",
        "Exit: enough (mine.py:",
        "KeyboardInterrupt (mine.py:",
        "its process was sent SIGTERM, and the run was not",
        "came back twice",
        "crashed: its process was ended by SIGSEGV (mine.py:",
        "timeout: no sign of life for 20 s (--case-timeout), killed (mine.py:",
    ):
        assert line in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "INTERNALERROR" not in done.stdout
    assert (project.path / "results/failures/test_custom.py_test_forward_ends-fp32-b1-32.txt").exists()
    assert not (project.path / "results/unfinished").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_keeps_what_it_has_and_is_resumed(project: pytest.Pytester, number: signal.Signals) -> None:
    project.makepyfile(mine=MODELS)
    started = subprocess.Popen(command("first", "hangs"), cwd=project.path, stdout=subprocess.PIPE, text=True)
    deadline_s = time.monotonic() + 120
    while not (project.path / "hanging").exists():
        assert started.poll() is None
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    (running,) = children_of(started.pid)
    started.send_signal(number)
    output, _ = started.communicate(timeout=120)
    running.wait(20)
    if number == signal.SIGTERM:
        assert started.returncode == pytest.ExitCode.INTERRUPTED, output
        assert saved_models(project.path) == ["first"]
    else:
        assert started.returncode == -number
        assert not (project.path / "out.json").exists()
    assert len(list((project.path / "results/unfinished").glob("*.jsonl"))) == 1
    again = [*command("first", "hangs"), "--resume"]
    resumed = subprocess.run(again, cwd=project.path, capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stdout
    assert saved_models(project.path) == ["first", "hangs"]
    assert (project.path / "built").read_text() == "x"  # what was finished is not measured again
    assert not (project.path / "results/unfinished").exists()


def test_a_run_that_nobody_watches_says_that_a_timeout_does_nothing(run: Run) -> None:
    said = "models: --case-timeout does nothing in this run, *; give --isolate"
    run(*OWN, "--collect-only", "--case-timeout=5").stdout.fnmatch_lines([said])
    run(*OWN, "--collect-only").stdout.no_fnmatch_line("*--case-timeout*")


def test_a_run_clears_the_oldest_journals_that_nobody_went_on_with(project: pytest.Pytester, run: Run) -> None:
    for age in range(25):
        Journal(folder(project.path) / f"{os.getpid()}-{age + 1}.jsonl").begin({})
    assert run(*OWN, "--iters=1", "--warmup=0").ret == 0
    assert len(abandoned(project.path)) == 20


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_after_everything_was_saved_ends_nothing(project: pytest.Pytester, number: signal.Signals) -> None:
    with (project.path / "conftest.py").open("a") as stream:
        stream.write(
            f"\nimport os, pytest\n@pytest.hookimpl(tryfirst=True)\ndef pytest_unconfigure():\n"
            f"    os.kill(os.getpid(), {int(number)})\n"
        )
    done = project.run(sys.executable, "-m", "pytest", "benchmarks", *OWN, "--benchmark-json=out.json")
    assert done.ret == 0
    assert "Traceback" not in done.stdout.str() + done.stderr.str()
    assert len(json.loads((project.path / "out.json").read_text())["benchmarks"]) == 1
    assert abandoned(project.path) == []


@pytest.mark.slow
def test_a_run_that_xdist_hands_out_is_not_split(project: pytest.Pytester) -> None:
    """The half that waits adopts what others leave, and would keep it from them."""
    with (project.path / "conftest.py").open("a") as stream:
        stream.write("\nimport os\ndef pytest_configure(config):\n    print('PARENT', os.getppid())\n")
    done = project.run(sys.executable, "-m", "pytest", "benchmarks", *OWN, "-n1", "-s")
    parents = {int(line.split()[1]) for line in done.outlines if line.startswith("PARENT")}
    assert os.getpid() in parents


def test_where_a_process_ended_is_told_by_the_users_own_code() -> None:
    frames = [f"{ROOT}/fixtures/models/custom.py", "/env/lib/python3.11/site-packages/torch/x.py", "<string>"]
    trace = "".join(f'  File "{file}", line 7 in f\n' for file in [*frames, "/home/me/mine.py", "/home/me/other.py"])
    assert place_in(trace) == " (mine.py:7)"
    assert place_in(trace.partition("/home")[0]) == ""
