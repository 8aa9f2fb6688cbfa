"""`--report` and `--export` of a run, and runs that save at the same moment."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import OWN, ROOT, Run, no_traceback


def test_a_run_writes_its_report_and_its_exchange_file(run: Run, project: pytest.Pytester) -> None:
    result = run(*OWN, "--report=out", "--export=bench", "--export=csv=mine.csv", "--benchmark-json=run.json")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["*= report =*", "wrote *out: report.md, *", "wrote *bench: net.json", "wrote *: mine.csv"]
    )
    (saved,) = json.loads((project.path / "run.json").read_text())["benchmarks"]
    exchanged = json.loads((project.path / "results" / "bench" / "net.json").read_text())
    assert exchanged["latency"]["p50_ms"] == saved["extra_info"]["latency_p50_ms"]
    text = (project.path / "out" / "report.md").read_text()
    assert "1 case of 1 model on" in text
    assert f"{saved['extra_info']['latency_p50_ms']:.4g}"[:4] in text
    assert (project.path / "out" / "report.html").stat().st_size > 100_000
    assert (project.path / "mine.csv").read_text().startswith("case,run,")


def test_with_a_baseline_the_report_compares(run: Run, project: pytest.Pytester) -> None:
    assert run(*OWN, "--benchmark-save=base").ret == 0
    result = run(*OWN, "--benchmark-compare", "--report=out")
    assert result.ret == 0
    text = (project.path / "out" / "report.md").read_text()
    assert "this-run against 0001_base: gate:" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--report=tiny.py"], "--report: 'tiny.py' is a file; name a folder, which is made if need be"),
        (["--report="], "--report: name a folder, which is made if need be"),
        (["--export=xml"], "--export: expected FORMAT or FORMAT=PATH with a format of bench, *got 'xml'*"),
        (["--report=out", "--benchmark-disable"], "--report: nothing is measured under --benchmark-disable*"),
        (["--export=csv", "-n", "2"], "--export: nothing is measured under *xdist*"),
    ],
)
def test_mistakes_are_said_before_anything_runs(run: Run, arguments: list[str], message: str) -> None:
    result = run(*OWN, *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])
    no_traceback(result)


def test_where_nothing_was_measured_nothing_is_written(run: Run, project: pytest.Pytester) -> None:
    result = run("-k", "custom", "--report=out")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines(["--report, --export: nothing was measured, so nothing was written"])
    assert not (project.path / "out").exists()


def test_report_with_a_blank_is_an_option_and_no_test_path(run: Run, project: pytest.Pytester) -> None:
    (project.path / "out").mkdir()
    (project.path / "out" / "conftest.py").write_text("raise SystemExit('executed')")
    assert run(*OWN, "--report", "out").ret == 0


@pytest.mark.slow
def test_two_runs_that_save_at_once_lose_nothing(project: pytest.Pytester) -> None:
    command = [sys.executable, "-m", "pytest", "benchmarks", *OWN, "--iters=3", "--warmup=0", "--benchmark-save=same"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(project.path)}
    running = [
        subprocess.Popen(command, cwd=project.path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=120)[0].decode() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], outputs[0]
    names = sorted(path.name for path in Path(project.path, "results").rglob("*.json") if "same" in path.name)
    assert names == ["0001_same.json", "0002_same.json", "0003_same.json"]
    for path in Path(project.path, "results").rglob("*_same.json"):
        assert json.loads(path.read_text())["benchmarks"]


def test_a_run_that_may_not_take_the_lock_is_saved_under_a_name_of_its_own(run: Run, project: pytest.Pytester) -> None:
    (project.path / "results" / ".saving.lock").mkdir(parents=True)
    result = run(*OWN, "--benchmark-save=base")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["saved under a name of its own, since others may save too: *", "net *"])
    (saved,) = (project.path / "results").rglob("*_base_process*.json")
    assert json.loads(saved.read_text())["benchmarks"]
    no_traceback(result)
