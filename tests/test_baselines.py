"""Runs against a saved baseline: regressions, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import OWN, Run, no_traceback

SLOWED = """
import time
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        end = time.perf_counter() + {seconds}
        while time.perf_counter() < end:
            pass
        return self.linear(x[..., :4])

def net():
    return Net()
"""


def test_a_slowed_model_is_a_regression_in_one_line(project: pytest.Pytester, run: Run) -> None:
    project.makepyfile(mine=SLOWED.format(seconds=0.001))
    args = ("-k", "custom", "--model=mine.py:net", "--batch=1", "--iters=5")
    run(*args, "--benchmark-save=base").assert_outcomes(passed=1)
    assert len(list((project.path / "results").glob("*/0001_base.json"))) == 1
    unchanged = run(*args, "--benchmark-compare", "--benchmark-compare-fail=median:900%")
    assert unchanged.ret == 0
    unchanged.stdout.fnmatch_lines(["1 compared, 0 regressed, 0 refused, 0 new"])
    project.makepyfile(mine=SLOWED.format(seconds=0.1))
    slowed = run(*args, "--benchmark-compare=0001", "--benchmark-compare-fail=median:900%")
    assert slowed.ret == 1
    slowed.stdout.fnmatch_lines(
        ["REGRESSION benchmarks/test_custom.py::test_forward[[]net-fp32-b1-224]: median * ms (+*, limit 900 %)"]
    )
    no_traceback(slowed)


def edit_baseline(project: pytest.Pytester, **change: object) -> None:
    (file,) = (project.path / "results").glob("*/0001_base.json")
    content = json.loads(file.read_text())
    for benchmark in content["benchmarks"]:
        benchmark["extra_info"].update(change)
    file.write_text(json.dumps(content))


def test_a_baseline_of_another_device_is_refused_before_anything_runs(project: pytest.Pytester, run: Run) -> None:
    run(*OWN, "--iters=3", "--benchmark-save=base")
    edit_baseline(project, device="cuda:0", device_name="NVIDIA H200")
    result = run(*OWN, "--benchmark-compare")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --benchmark-compare: refused, 0001_base.json was measured on cuda:0 (NVIDIA H200) and this is cpu (*"]
    )


@pytest.mark.parametrize(
    "field", ["weights", *(pytest.param(n, marks=pytest.mark.slow) for n in ("inputs_digest", "precision"))]
)
def test_a_baseline_of_other_work_is_refused_by_name(project: pytest.Pytester, run: Run, field: str) -> None:
    run(*OWN, "--iters=3", "--benchmark-save=base")
    edit_baseline(project, **{field: "other"})
    result = run(*OWN, "--iters=3", "--benchmark-compare", "--benchmark-compare-fail=min:1%")
    assert result.ret == 6
    result.stdout.fnmatch_lines([f"REFUSED benchmarks/test_custom.py::*: {field} other -> *"])
    result.stdout.no_fnmatch_line("REGRESSION*")


@pytest.mark.parametrize("machine", [{}, {"machine_info": None}, {"machine_info": {"node": "another"}}])
def test_a_baseline_that_tells_little_of_its_machine_is_compared(
    project: pytest.Pytester, run: Run, tmp_path: Path, machine: dict[str, object]
) -> None:
    """Also where it lies outside the working directory, of which pytest-benchmark cannot say where that is."""
    elsewhere = f"--benchmark-storage={tmp_path / 'elsewhere'}"
    run(*OWN, "--iters=3", "--benchmark-save=base", elsewhere).assert_outcomes(passed=1)
    (file,) = (tmp_path / "elsewhere").glob("*/0001_base.json")
    content = json.loads(file.read_text())
    del content["machine_info"]
    file.write_text(json.dumps({**content, **machine}))
    result = run(*OWN, "--iters=3", "--benchmark-compare", elsewhere)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["1 compared, 0 regressed, 0 refused, 0 new; no limit was given, so none was judged (--gate=*:10%)"]
    )
