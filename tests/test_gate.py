"""The gate on saved files, outside pytest."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from fixtures import gate
from fixtures.judge.gating import Judgement
from fixtures.judge.pairs import Pair
from fixtures.judge.questions import SAVED
from fixtures.judge.rules import parse_rule
from fixtures.judge.verdicts import judge
from fixtures.record.missing import Failure
from fixtures.record.record import Record
from fixtures.show import verdict_table
from tests.conftest import ROOT
from tests.saved import timed

CASE = "benchmarks/test_custom.py::test_forward[net-fp32-b8-224]"
Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path, record: Record) -> Write:
    """Writes a saved file of records by case id; more keys of the file as keywords."""

    def write_file(
        name: str, records: dict[str, Record] | None = None, rounds_s: list[float] | None = None, **more: Any
    ) -> str:
        benchmarks = [
            {
                "fullname": nodeid,
                "extra_info": each.extra_info(),
                "stats": {"data": rounds_s or [each.latency_p50_ms / 1e3] * 3},
            }
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
    evidence = "processes a case: 1 before, 1 now; finds from +33 %, --against from +2.4 %"
    assert f"gate: 1 pass (saved baseline; {evidence})" in capsys.readouterr().out
    slow = write("slow.json", {CASE: timed(20.0, record)})
    assert gate.main([base, slow]) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("REGRESSION benchmarks")]
    assert line == (
        f"REGRESSION {CASE}: latency_p50_ms 10 -> 20 (+100.0 %, 95 % CI +69.4 … +136.2 %); limit 5 %: certainly "
        "slower, at least 69.4 %, best estimate beyond it"
    )


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
    lifted = ",".join(part.partition(" ")[0] for part in named.split("; "))
    line = f"INVALID {CASE}: latency_p50_ms; {named}; --allow-different={lifted} compares them all the same"
    assert line in capsys.readouterr().out.splitlines()
    assert gate.main([write("base.json"), head, f"--allow-different={lifted}", "--gate=params"]) == 0
    assert f"compared exactly; {named.split('; ')[0]}: compared all the same" in " ".join(
        capsys.readouterr().out.split()
    )


def test_torch_and_driver_have_to_agree_unless_allowed(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    base = write("base.json")
    other = {"versions": {"torch": "2.15.0"}, "driver": "570.1", "gpu_uuid": "GPU-1"}
    head = write("head.json", machine_info=other)
    assert gate.main([base, head]) == 6
    assert (
        "torch 2.14.1 -> 2.15.0; driver unknown -> 570.1; --allow-different=torch,driver compares them all the same"
        in capsys.readouterr().out
    )
    assert gate.main([base, head, "--allow-different=torch", "--gate=params"]) == 6
    assert gate.main([base, head, "--allow-different=torch,driver", "--gate=params"]) == 0


def test_weights_that_code_makes_follow_the_code(
    write: Write, record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    """Compared, and said; trained weights are another model, and the option that lifts the refusal is named."""
    base = write("base.json", {CASE: replace(record, weights="file:mine.py:0123456789ab")})
    head = write("head.json", {CASE: replace(record, weights="file:mine.py:ba9876543210", params=30_000_000)})
    assert gate.main([base, head, "--gate=params"]) == 1
    note = "weights file:mine.py:0123456789ab -> file:mine.py:ba9876543210: they follow the code"
    assert f"limit 0 %, compared exactly; {note}\n" in capsys.readouterr().out
    trained = write("trained.json", {CASE: replace(record, weights="file:best.pt:ba9876543210")})
    assert gate.main([base, trained, "--gate=params"]) == 6
    assert "; --allow-different=weights compares them all the same" in capsys.readouterr().out


def test_files_of_different_code_are_not_pooled(
    write: Write, record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [
        write(f"{index}.json", {CASE: replace(record, weights=f"file:mine.py:{index}")}) for index in ("aa", "bb", "bb")
    ]
    gate.main([*files, files[0], "--gate=params"])
    assert "processes a case: 2 before, 1 now" in capsys.readouterr().out


def test_what_the_machine_alone_would_decide_is_inconclusive(
    write: Write, record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    """14.7 -> 16.1 ms was `improved -26.5 %`: the canary said that the machine was 35 % slower."""
    slow = (1.0, 1.01, 0.99, 1.0, 1.0)

    def side(p50_ms: float, machine: float) -> Record:
        values = {
            "latency_p50_ms": tuple(p50_ms * each for each in slow),
            "canary_matmul_ms": tuple(machine * each for each in slow),
            "canary_copy_ms": tuple(machine * each for each in slow),
        }
        middles = {"canary_matmul_ms": machine, "canary_copy_ms": machine}
        return replace(timed(p50_ms, record), **middles, process_values=values)  # type: ignore[arg-type]

    base, head = side(14.7, 1.0), side(16.1, 1.49)
    assert gate.main([write("base.json", {CASE: base}), write("head.json", {CASE: head}), "--gate-strict"]) == 1
    said = capsys.readouterr().out
    assert "INCONCLUSIVE" in said
    assert (
        "limit 5 %; the machine was 49 % slower (canary), -26.5 % with that taken out; +9.5 % and -26.5 % point in "
        "opposite directions; more --processes on both sides, or --against would tell"
    ) in said
    assert gate.main([write("base.json", {CASE: head}), write("head.json", {CASE: base})]) == 0
    assert "INCONCLUSIVE" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"latency_p50_ms": 8.0, "latency_per_sample_ms": 1.0}, "latency_min_ms 9 is above latency_p50_ms 8"),
        ({"latency_p90_ms": 11.8}, "latency_p90_ms 11.8 is above latency_p95_ms 11.5"),
        ({"latency_mean_ms": 13.0}, "latency_mean_ms 13 is above latency_max_ms 12"),
        ({"latency_per_sample_ms": 2.0}, "latency_per_sample_ms 2 is not latency_p50_ms 10 / 8"),
        ({"gflops": 4.0}, "gflops 4 is not 2 x gmacs 4"),
        (
            {"process_values": {"latency_p50_ms": (14.0, 15.0)}},
            "latency_p50_ms is 10 and its processes' 14 to 15",
        ),
        (
            {"process_values": {"latency_p50_ms": (9.0, 11.0)}, "process_rounds": (1, 2)},
            "process 1 has a p50 of 9 ms and rounds of 10",
        ),
        (
            {"process_values": {"params": (3.0, 4.0)}},
            "params is 2.556e+07 and its processes' 3 to 4",
        ),
        ({"process_rounds": (2,)}, "its processes have 2 rounds and the file 3"),
    ],
)
def test_a_file_that_contradicts_itself_is_invalid(
    write: Write, record: Record, capsys: pytest.CaptureFixture[str], change: dict[str, Any], said: str
) -> None:
    """As baseline, as head, and among several baselines; whatever of the case is asked for."""
    wrong = write("wrong.json", {CASE: replace(record, **change)}, rounds_s=[0.01] * 3)
    right = write("right.json")
    for files in ([wrong, right], [right, wrong], [wrong, right, right]):
        assert gate.main([*files, "--gate=params"]) == 6
        assert f" contradicts itself, {said}; measure it again" in capsys.readouterr().out
    assert gate.main([right, right, "--gate=params"]) == 0


def test_a_number_that_its_rounds_do_not_have_is_not_judged(
    write: Write, record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    rounds = [0.009 + 0.00002 * index for index in range(101)]
    base = write("base.json", {CASE: record}, rounds_s=rounds)
    assert gate.main([base, base, "--gate=latency_p95_ms:900%"]) == 6
    assert "latency_p95_ms is 11.5 and that of its 101 rounds 10.9" in capsys.readouterr().out
    assert gate.main([base, base, "--gate=latency_p50_ms:900%"]) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"latency_p95_ms": None, "process_values": {"latency_p95_ms": (11.0, 11.0)}},
        {"load_s": 0.0, "process_values": {"load_s": (1.0, 1.0, 1.0)}},
        {"load_s": 1e-300, "process_values": {"load_s": (1e-300, 1.0, 1e300)}},
        {"canary_matmul_ms": 0.0, "canary_copy_ms": -1.0},
    ],
)
def test_odd_numbers_are_judged_without_a_traceback(write: Write, record: Record, change: dict[str, Any]) -> None:
    odd, plain = write("odd.json", {CASE: replace(record, **change)}), write("plain.json")
    for files in ([odd, plain], [plain, odd], [odd, odd]):
        rules = [f"--gate={field}" for field in ("latency_p50_ms", "latency_p95_ms", "load_s", "throughput_p50_per_s")]
        assert gate.main([*files, *rules]) in (0, 1, 6)


def test_what_varies_by_itself_does_not_gate(write: Write, record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    """Layers that are skipped at random: whichever side says so, and also when strict."""
    varying = replace(record, gmacs=5.0, gflops=10.0, notes=("fused: nothing", "varies: gmacs, gflops"))
    base, head = write("base.json"), write("head.json", {CASE: varying})
    rules = ["--gate=gflops", "--gate=gflops<=1", "--gate-strict"]
    for files in ([base, head], [head, base]):
        assert gate.main([*files, *rules[:1], "--gate-strict"]) == 0
        assert f"INCONCLUSIVE {CASE}: gflops; varies: gflops of equal code; it does not gate" in capsys.readouterr().out
    assert gate.main([base, head, *rules]) == 0
    assert gate.main([base, head, "--gate=params", "--gate=gmadds", *rules]) == 1  # gmadds was not measured


def test_half_as_slow_again_is_a_regression_from_one_process(write: Write, record: Record) -> None:
    """Of one case in twelve, flagged on both sides: flags are shown, and excuse nothing."""
    flagged = replace(record, flags=("host_busy", "drift"))
    cases = {CASE.replace("net", f"net{index}"): flagged for index in range(12)}
    base = write("base.json", cases)
    assert gate.main([base, base]) == 0
    assert gate.main([base, write("head.json", {**cases, next(iter(cases)): timed(15.0, flagged)})]) == 1


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
    bases = [write(f"base{i}.json", {CASE: timed(10 + i / 100, record)}) for i in range(5)]
    assert gate.main([*bases, write("head.json"), "--gate=latency_p50_ms:20%"]) == 0
    assert "processes a case: 5 before, 1 now" in capsys.readouterr().out


def test_an_inconclusive_verdict_passes_unless_strict(write: Write, record: Record) -> None:
    head = write("head.json", {CASE: timed(10.7, record)})
    base = write("base.json")
    assert gate.main([base, head]) == 0
    assert gate.main([base, head, "--gate-strict"]) == 1


def test_what_keeps_the_limit_as_far_as_runs_can_tell_passes(
    write: Write, record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody is surely within 5 % across runs that differ by 4 %: it says what it may be."""
    head = write("head.json", {CASE: timed(10.3, record)})
    assert gate.main([write("base.json"), head, "--gate-strict"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "limit 5 %; kept by the best estimate, and surely no worse than +18 %" in said


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
            "record version 99 is newer than 2",
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
    head = write("head.json", {CASE: record, odd: timed(30.0, record)})
    gate.main([base, head, "--gate=latency_p50_ms:20%", f"--gate-summary={tmp_path / 'gate.md'}"])
    lines = (tmp_path / "gate.md").read_text().splitlines()
    assert lines[0].startswith("### gate: 1 regression, 1 pass")
    assert lines[4].startswith("| REGRESSION | forward[a\\|b&lt;script>-fp32-b8-224] |")
    assert lines[5].startswith("| pass |")


@pytest.mark.parametrize("width", [72, 80, 110, 160])
def test_the_table_fits_the_terminal(record: Record, width: int) -> None:
    case = "benchmarks/test_clip.py::test_image_encoder[clip-vit-b32-fp32-b8-224]"
    pair = Pair(case, parse_rule("latency_p50_ms:2%"), record, replace(record, latency_p50_ms=10.7))
    judgement = Judgement(SAVED, tuple(judge([pair], SAVED)), "saved baseline")
    text = verdict_table.text(judgement, width, colour=False)
    assert max(map(len, text.splitlines())) <= width
    assert "inconclusive" in text
    assert "+7.0 %" in text
