"""The gate on saved files, outside pytest and inside."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from fixtures import gate
from fixtures.missing import Failure
from fixtures.readout import verdict_table
from fixtures.readout.gating import Judgement
from fixtures.readout.rules import parse_rule
from fixtures.readout.verdicts import SAVED, Pair, judge
from fixtures.record import Record
from tests.conftest import ROOT, Run, no_traceback

CASE = "benchmarks/test_custom.py::test_forward[net-fp32-b8-224]"
Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path, record: Record) -> Write:
    """Writes a saved file of records by case id; more keys of the file as keywords."""

    def write_file(name: str, records: dict[str, Record] | None = None, **more: Any) -> str:
        benchmarks = [
            {"fullname": nodeid, "extra_info": each.extra_info(), "stats": {"data": [0.01] * 3}}
            for nodeid, each in ({CASE: record} if records is None else records).items()
        ]
        machine = {"versions": {"torch": "2.14.1"}, "driver": None}
        content = {"machine_info": machine, "benchmarks": benchmarks, **more}
        (tmp_path / name).write_text(json.dumps(content))
        return str(tmp_path / name)

    return write_file


def test_the_same_numbers_pass_and_twice_as_slow_is_a_regression(
    write: Write, record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    base = write("base.json")
    assert gate.main([base, write("same.json"), "--gate=latency_p50_ms:20%"]) == 0
    assert "gate: 1 pass (saved baseline; processes a case: 1 before, 1 now)" in capsys.readouterr().out
    slow = write("slow.json", {CASE: replace(record, latency_p50_ms=20.0)})
    assert gate.main([base, slow]) == 1
    assert f"REGRESSION {CASE}: latency_p50_ms 10 -> 20 (+100.0 %, 95 % CI " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"inputs_digest": "c" * 64}, "inputs_digest aaaaaaaaaaaa -> cccccccccccc"),
        (
            {"device": "cuda:0", "device_name": "NVIDIA H200"},
            "device cpu -> cuda:0; device_name AMD EPYC -> NVIDIA H200",
        ),
        ({"weights": "file:best.pt:abc"}, "weights random:42 -> file:best.pt:abc"),
        ({"precision": "bf16"}, "precision fp32 -> bf16"),
        ({"threads": 4}, "threads 2 -> 4"),
    ],
)
def test_what_differs_is_named_and_nothing_is_judged(
    write: Write, record: Record, capsys: pytest.CaptureFixture[str], change: dict[str, Any], named: str
) -> None:
    head = write("head.json", {CASE: replace(record, **change)})
    assert gate.main([write("base.json"), head]) == 6
    assert f"INVALID {CASE}: latency_p50_ms; {named}" in capsys.readouterr().out


def test_torch_and_driver_have_to_agree_unless_allowed(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    base = write("base.json")
    other = {"versions": {"torch": "2.15.0"}, "driver": "570.1", "gpu_uuid": "GPU-1"}
    head = write("head.json", machine_info=other)
    assert gate.main([base, head]) == 6
    assert "torch 2.14.1 -> 2.15.0; driver unknown -> 570.1\n" in capsys.readouterr().out
    assert gate.main([base, head, "--allow-different=torch", "--gate=params"]) == 6
    assert gate.main([base, head, "--allow-different=torch,driver", "--gate=params"]) == 0


def test_missing_new_and_crashed_cases_are_listed(
    write: Write, record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    gone, new, crashed = (CASE.replace("net", name) for name in ("gone", "new", "crashed"))
    base = write("base.json", {CASE: record, gone: record, crashed: record})
    failed = [asdict(Failure(crashed, "crashed", "its process was ended by SIGSEGV\n    last words", 0, None))]
    head = write("head.json", {CASE: record, new: record}, failed=failed)
    assert gate.main([base, head, "--gate=params"]) == 6
    output = capsys.readouterr().out
    assert f"MISSING {gone}: params; measured for the baseline, not now" in output
    assert f"MISSING {crashed}: params; crashed: its process was ended by SIGSEGV" in output
    assert "gate: 2 missing, 1 new, 1 pass" in output
    assert gate.main([base, head, "--gate=params", "--select=*net-fp32*"]) == 0


def test_several_baselines_are_pooled_into_more_processes(
    write: Write, record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    bases = [write(f"base{i}.json", {CASE: replace(record, latency_p50_ms=10 + i / 100)}) for i in range(5)]
    assert gate.main([*bases, write("head.json"), "--gate=latency_p50_ms:20%"]) == 0
    assert "processes a case: 5 before, 1 now" in capsys.readouterr().out


def test_an_inconclusive_verdict_passes_unless_strict(write: Write, record: Record) -> None:
    head = write("head.json", {CASE: replace(record, latency_p50_ms=10.3)})
    base = write("base.json")
    assert gate.main([base, head]) == 0
    assert gate.main([base, head, "--gate-strict"]) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ('{"benchmarks": [', "is not JSON, perhaps truncated"),
        ("nonsense", "is not JSON, perhaps truncated"),
        ("[]", "is not a file that pytest-benchmark saved"),
        (
            '{"benchmarks": [{"fullname": "a", "extra_info": {}, "stats": {}}]}',
            "was it saved by plain pytest-benchmark?",
        ),
        (
            '{"benchmarks": [{"fullname": "a", "extra_info": {"record_version": 99}, "stats": {}}]}',
            "record version 99 is newer than 1",
        ),
    ],
)
def test_a_baseline_that_is_none_is_said_in_a_line(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, message: str
) -> None:
    base = tmp_path / "base.json"
    if content is not None:
        base.write_text(content)
    assert gate.main([str(base), write("head.json")]) == 6
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--gate=latency:5%"], ["--gate-file=none.toml"], ["--allow-different=colour"]])
def test_a_rule_that_cannot_be_used_is_a_usage_error(write: Write, arguments: list[str]) -> None:
    assert gate.main([write("base.json"), write("head.json"), *arguments]) == 2


def test_the_command_needs_no_torch(write: Write) -> None:
    script = (
        "import sys; from fixtures.gate import main; "
        f"code = main([{write('base.json')!r}, {write('head.json')!r}, '--gate=params']); "
        "sys.exit(code or 'torch' in sys.modules or 'transformers' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def test_markdown_puts_the_worst_first_and_escapes_names(write: Write, record: Record, tmp_path: Path) -> None:
    odd = "benchmarks/test_custom.py::test_forward[a|b<script>-fp32-b8-224]"
    base = write("base.json", {CASE: record, odd: record})
    head = write("head.json", {CASE: record, odd: replace(record, latency_p50_ms=30.0)})
    gate.main([base, head, "--gate=latency_p50_ms:20%", f"--gate-summary={tmp_path / 'gate.md'}"])
    lines = (tmp_path / "gate.md").read_text().splitlines()
    assert lines[0].startswith("### gate: 1 regression, 1 pass")
    assert lines[4].startswith("| REGRESSION | forward[a\\|b&lt;script>-fp32-b8-224] |")
    assert lines[5].startswith("| pass |")


@pytest.mark.parametrize("width", [72, 80, 110, 160])
def test_the_table_fits_the_terminal(record: Record, width: int) -> None:
    case = "benchmarks/test_clip.py::test_image_encoder[clip-vit-b32-fp32-b8-224]"
    pair = Pair(case, parse_rule("latency_p50_ms:2%"), record, replace(record, latency_p50_ms=10.2))
    judgement = Judgement(SAVED, tuple(judge([pair], SAVED)), "saved baseline")
    text = verdict_table.text(judgement, width, colour=False)
    assert max(map(len, text.splitlines())) <= width
    assert "inconclusive" in text
    assert "+2.0 %" in text


def change_saved(project: pytest.Pytester, change: Callable[[dict[str, Any]], None]) -> None:
    """Edit the one file that --benchmark-save=base wrote."""
    (file,) = (project.path / "results").glob("*/0001_base.json")
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


OWN = ("-k", "custom", "--model=tiny.py:net", "--batch=1", "--iters=5")


def test_a_run_is_gated_by_a_saved_baseline(project: pytest.Pytester, run: Run) -> None:
    """Saved once, then: equal, half the time in the baseline, another torch, a case that vanished."""
    run(*OWN, "--benchmark-save=base").assert_outcomes(passed=1)
    passed = run(*OWN, "--benchmark-compare", "--gate=latency_p50_ms:90000%", "--gate=params")
    assert passed.ret == 0
    passed.stdout.fnmatch_lines(["gate: 2 pass (saved baseline; processes a case: 1 before, 1 now)"])

    def halve(content: dict[str, Any]) -> None:
        for benchmark in content["benchmarks"]:
            info = benchmark["extra_info"]
            info["latency_p50_ms"] /= 100
            info["canary_matmul_ms"] = info["canary_copy_ms"] = None

    change_saved(project, halve)
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
