"""Whole runs in real child processes: crashes, hangs, kills, interrupts; two versions alternating."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import Run, no_traceback
from tests.own_repository import git

MODELS = '''
import ctypes, os, signal, time
from pathlib import Path
from torch import nn

class Net(nn.Module):
    def __init__(self, before=lambda: None):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.before = before

    def forward(self, x):
        self.before()
        return self.linear(x[..., :4])

def wait(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass

def good():
    return Net(lambda: wait({seconds}))

def segfault():
    return Net(lambda: ctypes.string_at(0))

def killed():
    return Net(lambda: os.kill(os.getpid(), signal.SIGKILL))

def hangs():
    return Net(lambda: time.sleep(3600))

def once():
    """Is killed in the second process that builds it, as when memory is short."""
    Path("once").open("a").write("x")
    return killed() if Path("once").read_text() == "xx" else Net()

def second():
    """Hangs in the second process that builds it, and says so."""
    Path("built").open("a").write("x")
    if Path("built").read_text() == "xx":
        Path("hanging").touch()
        return hangs()
    return Net()
'''
ONE = ("--batch=1", "--iters=4", "--warmup=1", "--benchmark-json=out.json")


@pytest.mark.slow
def test_what_breaks_a_model_is_its_result_and_the_rest_goes_on(project: pytest.Pytester, run: Run) -> None:
    project.makepyfile(mine=MODELS.format(seconds=0))
    models = [f"--model=mine.py:{name}" for name in ("segfault", "hangs", "killed", "good")]
    result = run("-k", "custom", *ONE, *models, "--isolate", "--case-timeout=20", "--gate=params<=100")
    result.assert_outcomes(passed=1, failed=3)
    saved = json.loads((project.path / "out.json").read_text())
    failed = {entry["nodeid"].partition("[")[2].partition("-")[0]: entry for entry in saved["failed"]}
    assert failed["segfault"]["status"] == "crashed"
    assert "its process was ended by SIGSEGV" in failed["segfault"]["reason"]
    assert failed["hangs"]["status"] == "timeout"
    assert "no sign of life for 20 s (--case-timeout), killed" in failed["hangs"]["reason"]
    assert failed["killed"]["status"] == "crashed"
    assert failed["killed"]["reason"].startswith("its process was ended by SIGKILL")
    assert all(entry["peak_host_bytes"] > 50 * 2**20 for entry in failed.values())
    (good,) = saved["benchmarks"]
    assert good["extra_info"]["model"] == "good"
    assert len(good["stats"]["data"]) == 4
    assert [verdict["status"] for verdict in saved["gate"]["verdicts"]] == ["pass"]
    result.stdout.fnmatch_lines(["FAILED *segfault* - crashed: its process was ended by SIGSEGV*"])
    assert children_of(os.getpid()) == []
    assert not (project.path / "results" / "unfinished").exists()


def children_of(pid: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(pid).children(recursive=True) if child.status() != "zombie"]


@pytest.fixture
def versions(project: pytest.Pytester) -> pytest.Pytester:
    """The project as a git repository: the commit `quick`, and a head whose `good` takes fifty times as long."""
    project.makepyfile(mine=MODELS.format(seconds=0.002))
    (project.path / ".gitignore").write_text("results/\n__pycache__/\nout.json\n*.md\n*.xml\n")
    git(project.path, "init", "--quiet", "--initial-branch=main")
    git(project.path, "add", ".")
    git(project.path, "commit", "--quiet", "-m", "quick")
    git(project.path, "tag", "quick")
    project.makepyfile(mine=MODELS.format(seconds=0.1))
    return project


@pytest.mark.slow
def test_a_slower_head_is_found_against_a_git_ref(
    versions: pytest.Pytester, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One pair of processes is enough for so much, on a busy machine too; the verdict stands wherever it is kept."""
    summary = versions.path / "step.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    result = run(
        "-k",
        "custom",
        *ONE,
        "--model=mine.py:good",
        "--against=quick",
        "--processes=1",
        "--gate-summary=gate.md",
        "--junitxml=junit.xml",
    )
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        [
            "models: 1 process a case; alternating with quick (*), this version dirty (uncommitted changes)",
            "REGRESSION benchmarks/test_custom.py::test_forward[[]good-fp32-b1-224]: latency_p50_ms * -> * (+* %*",
            "gate: 1 regression (alternating; 1 pairs of processes)",
        ]
    )
    saved = json.loads((versions.path / "out.json").read_text())
    (case,) = saved["against"]["cases"].values()
    assert case["process_ratios"][0] > 1
    assert len(case["data"]) == len(saved["benchmarks"][0]["stats"]["data"]) == 4
    assert saved["gate"]["verdicts"][0]["status"] == "regression"
    assert "| REGRESSION | forward[good-fp32-b1-224] |" in (versions.path / "gate.md").read_text()
    assert summary.read_text() == (versions.path / "gate.md").read_text() + "\n"
    assert re.search(
        r'name="gate:latency_p50_ms:[^"]*good[^"]*" value="REGRESSION', (versions.path / "junit.xml").read_text()
    )
    assert_nothing_left(versions.path)


def assert_nothing_left(root: Path) -> None:
    assert children_of(os.getpid()) == []
    assert len(git(root, "worktree", "list").splitlines()) == 1
    assert not (root / "results" / "unfinished").exists()


@pytest.mark.slow
def test_a_base_that_is_killed_costs_the_head_nothing(versions: pytest.Pytester, run: Run) -> None:
    """kill -9 of the base's worker in the middle of a case."""
    other = versions.mkdir("other")
    killed = MODELS.format(seconds=0).replace("def good():", "def good():\n    return killed()\n\ndef unused():")
    (other / "mine.py").write_text(killed)
    result = run("-k", "custom", *ONE, "--model=mine.py:good", "--against=other", "--processes=2")
    assert result.ret == 6
    result.assert_outcomes(failed=1)  # its verdict is missing; what the head measured is saved all the same
    result.stdout.fnmatch_lines(
        ["MISSING *good-fp32*: latency_p50_ms; base: crashed: its process was ended by SIGKILL"]
    )
    assert [b["extra_info"]["model"] for b in json.loads((versions.path / "out.json").read_text())["benchmarks"]] == [
        "good"
    ]
    no_traceback(result)
    assert_nothing_left(versions.path)


@pytest.mark.slow
def test_a_base_that_does_not_start_is_told_why(versions: pytest.Pytester, run: Run) -> None:
    """A benchmark of the base is not importable; the head's results are kept, and what the base said stands there."""
    other = versions.mkdir("other")
    (other / "mine.py").write_text((versions.path / "mine.py").read_text())
    (other / "conftest.py").write_text("")
    (other / "benchmarks").mkdir()
    (other / "benchmarks" / "test_custom.py").write_text("import no_such_module\n")
    result = run("-k", "custom", *ONE, "--model=mine.py:good", "--against=other", "--processes=1")
    assert result.ret == 6
    result.assert_outcomes(failed=1)  # its verdict is missing; what the head measured is saved all the same
    result.stdout.fnmatch_lines(
        ["MISSING *good-fp32*: latency_p50_ms; base: crashed: did not start: *No module named 'no_such_module'*"]
    )
    assert_nothing_left(versions.path)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ('[[3, 12], ["pytest"]]', "lacks torch, pytest-benchmark, msgspec"),
        ("[[3, 10], []]", "is Python 3.10, 3.11 is needed"),
        ("hello", "is not a Python interpreter"),
    ],
)
def test_an_interpreter_that_cannot_run_the_suite_is_refused(
    project: pytest.Pytester, run: Run, answer: str, message: str
) -> None:
    python = project.path / "python"
    python.write_text(f"#!/bin/sh\necho '{answer}'\n")
    python.chmod(0o755)
    result = run("-k", "custom", "--model=tiny.py:net", "--against-python=./python")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in result.stderr.str()


@pytest.mark.slow
def test_an_interrupted_run_keeps_what_it_has_and_is_resumed(project: pytest.Pytester) -> None:
    project.makepyfile(mine=MODELS.format(seconds=0))
    models = [f"--model=mine.py:{name}" for name in ("good", "once", "second")]
    arguments = ["-k", "custom", *ONE, *models, "--processes=2"]
    command = [sys.executable, "-m", "pytest", "benchmarks", *arguments]
    parent = subprocess.Popen(command, cwd=project.path, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (project.path / "hanging").exists():
        assert parent.poll() is None, parent.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    (child,) = children_of(parent.pid)
    parent.send_signal(signal.SIGINT)
    output, _ = parent.communicate(timeout=120)
    assert parent.returncode == pytest.ExitCode.INTERRUPTED
    assert not child.is_running()
    kept = rounds(project.path)
    assert kept == {"good": 8, "second": 4}, output  # two processes of the one, one of the other; the third has failed
    resumed = subprocess.run([*command, "--resume"], cwd=project.path, capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stdout
    assert rounds(project.path) == {"good": 8, "once": 8, "second": 8}
    for name in ("built", "once"):
        assert (project.path / name).read_text() == "xxx"  # built once more, for what was missing
    assert not (project.path / "results" / "unfinished").exists()


@pytest.mark.slow
def test_a_process_that_was_killed_is_measured_anew_beside_the_others(project: pytest.Pytester) -> None:
    project.makepyfile(mine=MODELS.format(seconds=0))
    command = [sys.executable, "-m", "pytest", "benchmarks", "-k", "custom", *ONE, "--processes=2"]
    command.append("--model=mine.py:once")  # in a process of its own: a journal is its run's until that has ended
    failed = project.run(*command)
    assert failed.ret == pytest.ExitCode.TESTS_FAILED
    failed.stdout.fnmatch_lines(["1 case not measured to the end: *; the same command with --resume goes on"])
    assert project.run(*command, "--resume").ret == 0
    assert rounds(project.path) == {"once": 8}
    assert (project.path / "once").read_text() == "xxx"
    assert not (project.path / "results" / "unfinished").exists()


def rounds(folder: Path) -> dict[str, int]:
    benchmarks: list[dict[str, Any]] = json.loads((folder / "out.json").read_text())["benchmarks"]
    return {b["extra_info"]["model"]: len(b["stats"]["data"]) for b in benchmarks}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--against=no-such-ref"], "'no-such-ref' is neither a folder nor a git ref"),
        (["--against-python=/no/such/python"], "--against-python: no such interpreter '/no/such/python'"),
        (["--processes=0"], "--processes: expected an integer from 1 to 1000, got '0'"),
        (["--processes=many"], "--processes: expected an integer from 1 to 1000, got 'many'"),
        (["--isolate", "--case-timeout=soon"], "--case-timeout: expected a positive number of seconds, got 'soon'"),
        (["--resume"], "--resume: nothing to resume"),
        (["--isolate", "--resume"], "--resume: nothing to resume"),
        (["--isolate", "--benchmark-disable"], "nothing is measured under --benchmark-disable"),
        (["--isolate", "-n1"], "nothing is measured under --benchmark-disable, --benchmark-skip or xdist (-n)"),
        (["--against=.", "--benchmark-compare"], "there is no baseline"),
    ],
)
def test_a_mistake_is_said_before_anything_runs(
    project: pytest.Pytester, run: Run, arguments: list[str], message: str
) -> None:
    result = run("-k", "custom", "--model=tiny.py:net", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in result.stdout.str() + result.stderr.str()
    no_traceback(result)
