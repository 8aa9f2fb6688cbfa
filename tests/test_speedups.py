"""The speed-up table: which rows, what they say, what is flagged, and that saved files show it again."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.record.missing import Missing
from fixtures.record.record import Record
from fixtures.record.saved import read_saved
from fixtures.show.__main__ import main
from fixtures.show.speedups import markdown, text
from fixtures.show.variant_rows import rows_of
from tests.conftest import Run, no_traceback

GAP = Missing(
    "benchmarks/t.py::test_forward[net-bf16-b8-224-onnxruntime]", "net", "forward", "bf16-onnxruntime", 8, 224
)


def variant(record: Record, **changes: Any) -> Record:
    """Twice as fast as fp32-eager, half its size, outputs nearly the same."""
    usual = {
        "baseline": "fp32-eager",
        "speedup": 2.0,
        "speedup_low": 1.9,
        "speedup_high": 2.1,
        "speedup_samples_ms": (5.0,) * 10,
        "speedup_baseline_samples_ms": (10.0,) * 10,
        "size_ratio": 0.5,
        "agreement_count": 200,
        "agreement_cosine_mean": 0.9999,
        "agreement_cosine_min": 0.999,
        "agreement_max_abs": 0.01,
        "agreement_max_rel": 0.001,
        "agreement_finite": True,
    }
    return replace(record, **{**usual, **changes})


def test_nothing_was_compared_nothing_is_shown(record: Record) -> None:
    assert rows_of([record], []) == []
    assert rows_of([record], [replace(GAP, variant="fp32-eager")]) == []


def test_reasons_are_shown_also_where_every_other_variant_is_missing(record: Record) -> None:
    shown = text(rows_of([record], [replace(GAP, reason="not installed")]))
    assert "baseline" in shown
    assert "bf16-onnxruntime: not installed" in shown


def test_the_baseline_is_first_whatever_the_order(record: Record) -> None:
    rows = rows_of([variant(record, precision="bf16"), record], [replace(GAP, reason="no such kernels")])
    assert [row.variant for row in rows] == ["fp32-eager", "bf16-eager", "bf16-onnxruntime"]
    shown = text(rows).splitlines()
    assert shown[0] == "net forward b8 224"
    assert shown[2].split()[:4] == ["fp32-eager", "–", "–", "baseline"]
    assert shown[3].split() == (
        ["bf16-eager", "10.00", "5.000", "2.00", "1.90", "…", "2.10", "0.5", "1", "0.9990", "0.01", "0.001"]
    )
    assert "bf16-onnxruntime: no such kernels" in shown
    assert max(map(len, shown)) <= 120


def test_energy_that_was_only_stated_is_said(record: Record) -> None:
    """Of a stated power it is the speed-up again."""
    base = replace(record, energy_source="stated", energy_per_sample_mj=4.0)
    rows = rows_of([base, variant(base, precision="bf16", energy_per_sample_mj=2.0)], [])
    assert "energy: stated, not measured" in text(rows)
    measured = replace(base, energy_source="rapl")
    assert "stated" not in text(rows_of([measured, variant(measured, precision="bf16")], []))


def test_cases_are_apart(record: Record) -> None:
    other = replace(record, batch=1)
    rows = rows_of([record, variant(record, precision="bf16"), other, variant(other, runtime="compile")], [GAP])
    assert [(row.case, row.variant) for row in rows] == [
        ("net forward b8 224", "fp32-eager"),
        ("net forward b8 224", "bf16-eager"),
        ("net forward b8 224", "bf16-onnxruntime"),
        ("net forward b1 224", "fp32-eager"),
        ("net forward b1 224", "fp32-compile"),
    ]


def test_ratios_over_the_baselines_record(record: Record) -> None:
    base = replace(record, energy_per_sample_mj=40.0, map50_95=0.5, quality_data="yolo:x")
    lower = {"energy_per_sample_mj": 10.0, "map50_95": 0.48, "quality_data": "yolo:x"}
    shown = text(rows_of([base, variant(base, precision="bf16", peak_host_bytes=350 * 2**20, **lower)], []))
    heading, _, row = shown.splitlines()[1:4]
    for column in ("energy ×", "quality drop"):
        assert column in heading
    assert " 0.5 " in row  # memory
    assert " 0.25 " in row
    assert row.endswith("0.020~")


def test_memory_of_a_process_that_held_several_models_is_no_ratio(record: Record) -> None:
    """The variant's process held the baseline before."""
    base = replace(record, process_of_its_own=False)
    other = variant(base, precision="bf16", peak_host_bytes=259 * 2**20, speedup=2.0, speedup_samples_ms=(1.0,) * 9)
    shown = text(rows_of([base, other], []))
    assert " 0.37 " not in next(line for line in shown.splitlines() if line.startswith("bf16"))
    assert "no memory: its process held other models too; with --isolate it is this one's own" in " ".join(
        shown.split()
    )


def test_quality_on_other_data_is_not_compared(record: Record) -> None:
    base = replace(record, map50_95=0.5, quality_data="yolo:x")
    assert "quality drop" not in text(rows_of([base, variant(base, precision="bf16", quality_data="yolo:y")], []))


@pytest.mark.parametrize(
    ("changes", "cosine"),
    [({"agreement_cosine_min": 0.899}, "0.8990"), ({"agreement_cosine_min": None, "agreement_finite": False}, "NaN")],
)
def test_what_disagrees_is_flagged_beside_its_speedup(record: Record, changes: dict[str, Any], cosine: str) -> None:
    rows = rows_of([record, variant(record, precision="int8", **changes)], [])
    shown = text(rows)
    (row,) = [line for line in shown.splitlines() if line.startswith("int8-eager ")]
    assert " 2.00 ! " in row
    assert cosine in row
    assert "! int8-eager: outputs are NaN or disagree" in shown
    assert "2.00 !" in markdown(rows)


def test_what_agrees_is_not_flagged(record: Record) -> None:
    assert "!" not in text(rows_of([record, variant(record, precision="int8", agreement_cosine_min=0.9)], []))


def test_a_case_that_failed_is_told_apart_from_one_that_cannot_be(record: Record) -> None:
    failed = replace(GAP, reason="net: the output of forward holds NaN or infinity in fp16", failed=True)
    shown = text(rows_of([record, variant(record, precision="bf16")], [failed]))
    assert " failed " in shown
    assert "bf16-onnxruntime: net: the output of forward holds NaN or infinity in fp16" in shown


def test_no_ratio_without_equal_work(record: Record) -> None:
    nothing = {"speedup": None, "speedup_low": None, "speedup_high": None, "size_ratio": None}
    samples: dict[str, Any] = {"speedup_samples_ms": (), "speedup_baseline_samples_ms": ()}
    notes = ("speedup: not the same work: threads 2 -> 1",)
    unequal = variant(record, precision="bf16", speedup_unequal=("threads 2 -> 1",), notes=notes, **nothing, **samples)
    shown = text(rows_of([record, unequal], []))
    (row,) = [line for line in shown.splitlines() if line.startswith("bf16-eager ")]
    assert row.split()[:5] == ["bf16-eager", "–", "–", "unequal", "–"]
    assert row.split()[5:7] == ["–", "–"]
    assert "bf16-eager: not the same work: threads 2 -> 1" in shown


def test_what_disturbed_either_sides_rounds_stands_beside_the_ratio(record: Record) -> None:
    slow = {"speedup_baseline_samples_ms": (10.0, 10.0, 10.0, 10.0, 50.0) * 4}
    disturbed = variant(record, precision="bf16", flags=("host_busy",), **slow)
    rows = rows_of([record, disturbed, variant(record, precision="int8")], [])
    shown = {line.split()[0]: line.split()[-1] for line in text(rows).splitlines() if "-eager" in line}
    assert shown == {"fp32-eager": "–", "bf16-eager": "BU", "int8-eager": "–"}
    assert "flags, of either side's rounds: B host_busy; U unstable" in text(rows)
    assert "| BU |" in markdown(rows)
    pooled = replace(disturbed, process_flags=(("host_busy",), ()))
    assert "B1U" in text(rows_of([record, pooled], []))


def test_markdown_says_the_same(record: Record) -> None:
    rows = rows_of([record, variant(record, precision="bf16")], [replace(GAP, reason="a | b")])
    lines = markdown(rows).splitlines()
    assert lines[0] == "**net forward b8 224**"
    assert lines[5] == "| bf16-eager | 10.00 | 5.000 | 2.00 | 1.90 … 2.10 | 0.5 | 1 | 0.9990 | 0.01 | 0.001 |"
    assert any(line.startswith("bf16-onnxruntime: a | b") for line in lines)


def test_a_saved_file_shows_it_again(record: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = [record, variant(record, precision="bf16")]
    saved = {
        "benchmarks": [
            {"fullname": f"t::{each.precision}", "extra_info": each.extra_info(), "stats": {}} for each in records
        ],
        "missing": [asdict(replace(GAP, reason="why not"))],
    }
    (tmp_path / "saved.json").write_text(json.dumps(saved))
    assert read_saved(tmp_path / "saved.json").missing[0].reason == "why not"
    assert main([str(tmp_path / "saved.json"), "--speedup"]) == 0
    assert "bf16-onnxruntime: why not" in capsys.readouterr().out
    assert main([str(tmp_path / "saved.json"), "--speedup", "--markdown"]) == 0
    assert "| bf16-eager |" in capsys.readouterr().out


def test_what_was_skipped_stands_in_the_saved_file(run: Run, project: pytest.Pytester) -> None:
    result = run("-k", "custom", "--model=tiny.py:net", "--batch=1", "--runtime=cudagraph", "--benchmark-json=out.json")
    assert result.ret == 0
    no_traceback(result)
    (missing,) = json.loads((project.path / "out.json").read_text())["missing"]
    assert missing["variant"] == "fp32-cudagraph"
    assert missing["reason"] == "--runtime: CUDA graphs need an NVIDIA GPU"
    assert missing["failed"] is False


def test_why_nothing_is_said_of_agreement_stands_under_the_table(record: Record) -> None:
    zeros = variant(record, precision="int8", agreement_count=None, notes=("agreement_*: the outputs are all zeros",))
    assert "int8-eager: no agreement: the outputs are all zeros" in text(rows_of([record, zeros], []))
    both = replace(zeros, speedup=None, notes=("speedup, agreement_*: it cannot run beside it",))
    assert "no agreement" not in text(rows_of([record, both], []))
