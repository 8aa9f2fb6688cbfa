"""The gate inside pytest: whole runs against a saved baseline, and what it refuses before they begin."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import metadata
from typing import Any

import pytest

from tests.conftest import Run, no_traceback
from tests.saved import faster


def change_saved(project: pytest.Pytester, change: Callable[[dict[str, Any]], None]) -> None:
    """Edit the one file that --benchmark-save=base wrote."""
    (file,) = (project.path / "results").glob("*/0001_base.json")
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def hundred_times_as_fast(content: dict[str, Any]) -> None:
    """On a machine that says nothing of itself."""
    for benchmark in content["benchmarks"]:
        faster(benchmark, 100)
        benchmark["extra_info"].update(canary_matmul_ms=None, canary_copy_ms=None)


OWN = ("-k", "custom", "--model=tiny.py:net", "--batch=1", "--iters=5")


def test_a_run_is_gated_by_a_saved_baseline(project: pytest.Pytester, run: Run) -> None:
    """Saved once, then: equal, half the time in the baseline, another torch, a case that vanished."""
    run(*OWN, "--benchmark-save=base").assert_outcomes(passed=1)
    passed = run(*OWN, "--benchmark-compare", "--gate=latency_p50_ms:90000%", "--gate=params")
    assert passed.ret == 0
    passed.stdout.fnmatch_lines(["gate: 2 pass (saved baseline; processes a case: 1 before, 1 now; finds from *)"])

    change_saved(project, hundred_times_as_fast)
    slower = run(*OWN, "--benchmark-compare", "--gate=latency_p50_ms")
    assert slower.ret == 1
    slower.stdout.fnmatch_lines(
        ["REGRESSION benchmarks/test_custom.py::test_forward[[]net-fp32-b1-224]: latency_p50_ms*"]
    )

    def another_torch(content: dict[str, Any]) -> None:
        content["machine_info"]["versions"]["torch"] = "1.0"

    change_saved(project, another_torch)
    invalid = run(*OWN, "--benchmark-compare", "--gate=latency_p50_ms", "--benchmark-json=out.json")
    assert invalid.ret == 6
    invalid.stdout.fnmatch_lines(["INVALID *: latency_p50_ms; torch 1.0 -> *"])
    assert json.loads((project.path / "out.json").read_text())[
        "benchmarks"
    ]  # the head's results are saved all the same

    def vanish(content: dict[str, Any]) -> None:
        content["machine_info"]["versions"]["torch"] = metadata.version("torch")
        gone = json.loads(json.dumps(content["benchmarks"][0]))
        gone["fullname"] = gone["fullname"].replace("net-", "gone-")
        gone["extra_info"]["weights"] = "random:42"
        content["benchmarks"].append(gone)

    change_saved(project, vanish)
    left_out = run(*OWN, "--benchmark-compare", "--gate=params")
    assert left_out.ret == 0  # -k leaves cases out on purpose
    whole = project.runpytest_inprocess("benchmarks/test_custom.py", *OWN[2:], "--benchmark-compare", "--gate=params")
    assert whole.ret == 6
    whole.stdout.fnmatch_lines(["MISSING *gone-fp32-b1-224*: params; measured for the baseline, not now"])


FAILS_LATER = """
from torch import nn

class Net(nn.Module):
    def __init__(self, calls):
        super().__init__()
        self.linear, self.left = nn.Linear(4, 4), calls

    def forward(self, x):
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("no more")
        return self.linear(x[..., :4])

def good(): return Net(10**9)
def bad(): return Net({calls})
"""


@pytest.mark.parametrize("calls", [2, *(pytest.param(calls, marks=pytest.mark.slow) for calls in (3, 5))])
def test_a_case_that_fails_before_its_first_round_is_over_leaves_the_others_judged(
    project: pytest.Pytester, run: Run, calls: int
) -> None:
    """pytest-benchmark has it already, without a round of which there could be statistics."""
    project.makepyfile(mine=FAILS_LATER.format(calls=10**9))
    own = ("-k", "custom", "--model=mine.py:good", "--model=mine.py:bad", "--batch=1", "--iters=3", "--warmup=1")
    run(*own, "--benchmark-save=base").assert_outcomes(passed=2)
    project.makepyfile(mine=FAILS_LATER.format(calls=calls))
    allowed = "--allow-different=weights,inputs_digest"
    for rules in (("--gate=latency_p50_ms:90000%",), ("--benchmark-compare-fail=median:90000%",)):
        result = run(*own, "--benchmark-compare", allowed, *rules)
        result.assert_outcomes(passed=1, failed=1)
        assert result.ret == 1
        assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gate=latency_p50_ms:5%"], "give --benchmark-compare[=NUM] or --against=REF"),
        (["--gate=latency:5%"], "no record has a measured field 'latency'"),
        (["--gate=params<=1", "--benchmark-disable"], "nothing is measured under --benchmark-disable"),
        (["--gate=params<=1", "-n1"], "xdist (-n)"),
        (["--gate-file=none.toml"], "--gate-file: * cannot be read"),
        (["--allow-different=colour"], "nothing compared is called 'colour'"),
        (["--gate=params<=1", "--gate-summary=none/gate.md"], "which does not exist"),
    ],
)
def test_a_gate_that_could_judge_nothing_is_a_usage_error(run: Run, arguments: list[str], message: str) -> None:
    result = run("-k", "custom", "--model=tiny.py:net", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{message.replace('[', '[[]')}*"])
    no_traceback(result)


def test_a_glob_without_a_case_is_a_usage_error(project: pytest.Pytester, run: Run) -> None:
    (project.path / "gates.toml").write_text('[cases]\n"*clpi*" = ["params<=1"]\n')
    result = run("-k", "custom", "--model=tiny.py:net", "--gate-file=gates.toml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--gate-file: '[*]clpi[*]' matches no case*"])


def test_a_ceiling_needs_no_baseline(run: Run) -> None:
    result = run(*OWN, "--gate=params<=1")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["REGRESSION *: params 112; at most 1 allowed", "gate: 1 regression (no baseline)"])
