"""Ranks, fronts, gains and choices, by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.judge.budgets import Budget, built_in
from fixtures.judge.fit import fit
from fixtures.judge.limits import parse_limit
from fixtures.record.record import Record
from fixtures.record.saved import read_saved
from fixtures.report import sides
from fixtures.report.contents import Report, contents
from fixtures.report.decisions import ranking, scenarios
from fixtures.report.findings import (
    batch_gains,
    fronts,
    rankings,
    smallest_batches,
    without_smallest_batch,
)
from fixtures.report.picks import choices
from tests.saved import H200, case_id, detectors, save, timed


def report_of(tmp_path: Path, records: list[Record], **more: Any) -> Report:
    return contents([read_saved(save(tmp_path / "run.json", records, **more))])


def on_gpu(record: Record) -> Record:
    return replace(record, device="cuda:0", device_name="NVIDIA H200")


def test_what_overlaps_shares_a_place(tmp_path: Path) -> None:
    records = [timed(10.0, model="a", batch=1), timed(12.0, model="b", batch=1), timed(20.0, model="c", batch=1)]
    (ranked,) = rankings(report_of(tmp_path, records).cases)
    assert [(each.case.record.model, each.speed) for each in ranked] == [("a", 1), ("b", 1), ("c", 3)]
    # Many processes that agree tell apart what one does not.
    precise = [
        replace(r, process_values={"latency_p50_ms": tuple(r.latency_p50_ms * f for f in (0.999, 1, 1, 1, 1.001) * 4)})
        for r in records
    ]
    (ranked,) = rankings(report_of(tmp_path, precise).cases)
    assert [each.speed for each in ranked] == [1, 2, 3]


def test_memory_is_ranked_beside_speed(tmp_path: Path) -> None:
    records = [
        timed(10.0, model="a", batch=1, peak_host_bytes=900),
        timed(20.0, model="b", batch=1, peak_host_bytes=100),
        timed(40.0, model="c", batch=1, peak_host_bytes=900),
    ]
    (ranked,) = rankings(report_of(tmp_path, records).cases)
    assert [each.memory for each in ranked] == [2, 1, 2]


def test_memory_of_a_process_that_held_several_models_has_no_place(tmp_path: Path) -> None:
    """Which came first decided which was the larger."""
    shared = [timed(10.0, model=name, batch=1, process_of_its_own=False) for name in ("a", "b")]
    report = report_of(tmp_path, shared)
    (ranked,) = rankings(report.cases)
    assert [each.memory for each in ranked] == [None, None]
    assert "memory has no places, of processes that held several models" in str(ranking(report))
    relative = str(sides.machines(replace(report, relative_to="a")))
    assert "Relative to a" in relative
    assert "'1', '–')" in relative  # params ×, peak ×
    on_a_gpu = [replace(record, peak_device_allocated_bytes=1000) for record in shared]
    assert [each.memory for each in rankings(report_of(tmp_path, on_a_gpu).cases)[0]] == [1, 1]


def test_the_front_has_what_nothing_beats(tmp_path: Path) -> None:
    (front,) = fronts(report_of(tmp_path, detectors()).cases)
    assert [case.record.model for case in front.best] == ["fast", "small"]
    assert [(case.record.model, by.record.model) for case, by in front.beaten_by] == [("worse", "fast")]
    assert front.criteria == ("latency p50", "parameters")


def test_quality_on_the_same_data_is_a_criterion(tmp_path: Path) -> None:
    quality = {"small": 0.5, "fast": 0.4, "worse": 0.6}
    records = [replace(r, quality_data="coco", map50_95=quality[r.model]) for r in detectors()]
    (front,) = fronts(report_of(tmp_path, records).cases)
    assert front.criteria == ("latency p50", "parameters", "map50_95")
    assert not front.beaten_by
    other = [replace(records[0], quality_data="other"), *records[1:]]
    assert fronts(report_of(tmp_path, other).cases)[0].criteria == ("latency p50", "parameters")


def test_a_variant_whose_outputs_disagree_neither_leads_the_front_nor_is_chosen(tmp_path: Path) -> None:
    small, fast, worse, _ = detectors()
    broken = replace(timed(5.0, fast), precision="int8", runtime="openvino", agreement_cosine_min=0.2)
    report = report_of(tmp_path, [small, fast, worse, broken])
    (ranked,) = rankings(report.cases)
    assert [(each.case.record.precision, each.speed) for each in ranked] == [
        ("int8", None),
        ("fp32", 1),
        ("fp32", 2),
        ("fp32", 3),
    ]
    assert {each.memory for each in ranked} == {None, 1}
    (front,) = fronts(report.cases)
    assert "int8" not in {case.record.precision for case in front.best}
    assert {choice.case.record.precision for choice in choices(report.cases, [built_in()["realtime-video"]])} == {
        "fp32"
    }


@pytest.mark.parametrize(
    "change",
    [
        {"speedup_unequal": ("threads 2 -> 1",)},
        {"speedup_unequal": ("rows of model calls a step 2 -> 1",), "steps": 10, "baseline_steps": 10},
        {"steps": 6, "baseline_steps": 10},
    ],
)
def test_what_was_refused_a_comparison_has_no_place_is_on_no_front_and_is_not_chosen(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    small, fast, worse, _ = detectors()
    other = replace(timed(5.0, fast), runtime="compile", baseline="fp32-eager", **change)
    report = report_of(tmp_path, [replace(r, steps=change.get("steps")) for r in (small, fast, worse)] + [other])
    (ranked,) = rankings(report.cases)
    assert [(each.case.record.runtime, each.speed, each.memory) for each in ranked] == [
        ("compile", None, None),
        ("eager", 1, 1),
        ("eager", 2, 1),
        ("eager", 3, 1),
    ]
    (front,) = fronts(report.cases)
    shown = [*front.best, *(case for pair in front.beaten_by for case in pair)]
    assert {case.record.runtime for case in shown} == {"eager"}
    chosen = choices(report.cases, list(built_in().values()))
    assert {choice.case.record.runtime for choice in chosen} == {"eager"}
    said = " ".join([*ranking(report).lines, *scenarios(report, list(built_in().values())).lines])
    assert "is the fastest" in said
    assert "compile" not in said


def test_what_was_refused_is_marked_and_a_budget_says_so(tmp_path: Path) -> None:
    small, fast, _, _ = detectors()
    other = replace(timed(5.0, fast), runtime="compile", baseline="fp32-eager", speedup_unequal=("threads 2 -> 1",))
    report = report_of(tmp_path, [small, fast, other])
    (shown,) = (shown for _, shown in ranking(report).tables)
    assert [row[:2] for row in shown.rows if "compile" in row[1]] == [("–", "fast forward fp32-compile ≠")]
    fitted = fit(case_id(other), other, built_in()["realtime-video"], [other])
    assert fitted.advice[0].startswith("it is not the work of its baseline (threads 2 -> 1)")
    table = sides.machines(replace(report, relative_to="fast"))
    assert table is not None
    assert not [row for _, shown in table.tables for row in shown.rows if "compile" in row[0]]


@pytest.mark.parametrize(
    "change", [{"steps": 10}, {"imgsz": 320}, {"threads": 4}, {"inputs_list": "other.json"}, {"remote_concurrency": 8}]
)
def test_on_other_terms_nothing_is_faster(tmp_path: Path, change: dict[str, Any]) -> None:
    """Fewer steps, a smaller image, more threads, other images, more at once: each alone makes every model faster."""
    small, fast, _, _ = (replace(record, steps=20, remote_concurrency=1) for record in detectors())
    easier = replace(timed(5.0, small), model="easier", **change)
    report = report_of(tmp_path, [small, fast, easier])
    assert [[each.case.record.model for each in ranked] for ranked in rankings(report.cases)] == [["fast", "small"]]
    assert [[case.record.model for case in front.best] for front in fronts(report.cases)] == [["fast", "small"]]
    chosen = choices(report.cases, [built_in()["realtime-video"]])
    assert sorted(choice.case.record.model for choice in chosen) == ["easier", "fast"]  # one on each terms
    rows = [
        row
        for _, shown in (sides.machines(replace(report, relative_to="small")) or ranking(report)).tables
        for row in shown.rows
    ]
    assert not [row for row in rows if "easier" in row[0]]
    assert [each.gain for each in batch_gains(report.cases) if each.case.record.model == "easier"] == []


def test_a_flag_widens_and_takes_a_place_only_where_nothing_is_left(tmp_path: Path) -> None:
    times = {"a": 10.0, "b": 14.0, "c": 40.0}
    busy = [timed(ms, model=name, batch=1, flags=("host_busy",)) for name, ms in times.items()]
    (ranked,) = rankings(report_of(tmp_path, busy).cases)
    assert [each.speed for each in ranked] == [1, 1, 3]  # of equal cost, perhaps, and surely slower
    (calm,) = rankings(report_of(tmp_path, [replace(record, flags=()) for record in busy]).cases)
    assert [each.speed for each in calm] == [1, 2, 3]
    (_, shown), *_ = ranking(report_of(tmp_path, busy)).tables
    assert [row[shown.headings.index("flags")] for row in shown.rows] == ["host_busy"] * 3


def test_a_case_leaves_the_front_only_for_one_that_is_surely_faster(tmp_path: Path) -> None:
    shared: dict[str, Any] = {"family": "yolo", "task": "object detection", "imgsz": 640, "batch": 1}
    small = timed(10.0, model="small", params=2_000_000, **shared)
    near, far = timed(10.5, small, model="near", params=3_000_000), timed(30.0, small, model="far", params=3_000_000)
    (front,) = fronts(report_of(tmp_path, [small, near, far]).cases)
    assert [case.record.model for case in front.best] == ["small", "near"]
    assert [(case.record.model, by.record.model) for case, by in front.beaten_by] == [("far", "small")]


def test_a_limit_that_the_next_process_may_miss_is_no_recommendation(tmp_path: Path) -> None:
    budget = Budget("tight", (parse_limit("latency", "< 50 ms", "must", "test"),))
    for ms, verdict in ((30.0, "recommended"), (48.0, "perhaps"), (52.0, "perhaps"), (80.0, "none fits; closest")):
        record = replace(timed(ms, model="a", batch=1), latency_p95_ms=ms)
        (_, shown), *_ = scenarios(report_of(tmp_path, [record]), [budget]).tables
        assert shown.rows[0][shown.headings.index("verdict")] == verdict
    fps = Budget("fast", (parse_limit("fps", "> 20", "must", "test"),))
    (choice,) = choices(report_of(tmp_path, [replace(timed(48.0, model="a", batch=1))]).cases, [fps])
    assert (choice.violated, choice.open) == (0, 1)


def test_works_are_compared_within_their_task_and_machine_only(tmp_path: Path) -> None:
    small, fast, _, _ = detectors()
    other = replace(fast, model="sam", task="segmentation")
    assert fronts(report_of(tmp_path, [small, other]).cases) == []
    here = read_saved(save(tmp_path / "a.json", [small]))
    there = read_saved(save(tmp_path / "b.json", [replace(fast, device="cuda:0", device_name="H200")], machine=H200))
    assert fronts(contents([here, there]).cases) == []
    assert rankings(contents([here, there]).cases) == []


def test_a_larger_batch_is_measured_against_the_smallest(tmp_path: Path) -> None:
    gains = batch_gains(report_of(tmp_path, detectors()).cases)
    assert [(each.case.record.batch, round(each.gain, 6)) for each in gains] == [(1, 1.0), (8, 1.6)]
    _, fast, _, batched = detectors()
    other_size = replace(batched, imgsz=320)
    assert batch_gains(report_of(tmp_path, [fast, other_size]).cases) == []
    there = read_saved(save(tmp_path / "gpu.json", [on_gpu(batched)], machine=H200))
    assert batch_gains(contents([read_saved(save(tmp_path / "cpu.json", [fast])), there]).cases) == []


def test_the_choice_is_the_one_with_the_fewest_violations_then_unknowns_then_most_room(tmp_path: Path) -> None:
    report = report_of(tmp_path, [replace(r, model_file_bytes=5_000_000) for r in detectors()])
    (choice,) = choices(report.cases, [built_in()["mobile-app"]])
    assert (choice.case.record.model, choice.case.record.batch) == ("fast", 1)
    assert (choice.violated, choice.unknown) == (0, 1)  # power
    there = read_saved(save(tmp_path / "gpu.json", [on_gpu(r) for r in detectors()], machine=H200))
    both = choices(contents([*report.runs, there]).cases, [built_in()["mobile-app"]])
    assert [choice.machine.label for choice in both] == ["AMD EPYC", "NVIDIA H200"]
    (choice,) = choices(report.cases, [built_in()["cloud-batch"]])
    assert choice.case.record.batch == 8  # 80 a second against 50
    assert choice.violated == 1


def test_of_a_model_the_whole_counts_and_not_a_part(tmp_path: Path) -> None:
    part = timed(5.0, model="sam", workload="mask_decoder", batch=64, gflops=64 * 30.0)
    whole = timed(500.0, model="sam", workload="end_to_end", batch=1, gflops=900.0)
    window = replace(timed(800.0, whole), workload="window", gflops=901.0)
    (choice,) = choices(report_of(tmp_path, [part, whole, window]).cases, [built_in()["realtime-video"]])
    assert choice.case.record.workload == "end_to_end"


def test_a_variant_measured_at_larger_batches_only_is_named_and_not_ranked(tmp_path: Path) -> None:
    small, fast, _, batched = detectors()
    late = replace(batched, model="late")
    cases = report_of(tmp_path, [small, fast, batched, late]).cases
    assert {each.case.record.model for each in rankings(cases)[0]} == {"small", "fast"}
    assert [case.record.model for case in without_smallest_batch(cases)] == ["late"]


def test_without_quality_only_equal_sizes_are_the_same_work(tmp_path: Path) -> None:
    small, fast, _, _ = detectors()
    half = replace(timed(5.0, small), imgsz=320)
    assert [len(smallest_batches(report_of(tmp_path, some).cases)) for some in ([small, half], [small])] == [2, 1]
    (front,) = fronts(report_of(tmp_path, [small, fast, half]).cases)
    assert [case.record.imgsz for case in front.best] == [640, 640]
    assert front.work == "object detection, forward at batch 1 and 640 px"
    known = [replace(r, quality_data="coco", map50_95=0.3) for r in (small, fast, half)]
    (front,) = fronts(report_of(tmp_path, known).cases)
    assert [case.record.imgsz for case in front.best] == [320]


def test_between_a_variant_and_its_baseline_their_alternation_decides(tmp_path: Path) -> None:
    """The table of speed-ups said 1.66 times, the ranking below it that the two cannot be told apart."""
    base = timed(40.0, model="net", batch=1)
    compared = {"baseline": "fp32-eager", "runtime": "compile"}
    quick = replace(timed(35.0, base), **compared, speedup=1.6, speedup_low=1.5, speedup_high=1.7)
    other = timed(36.0, model="other", batch=1)
    for low, high, places in ((1.5, 1.7, (1, 1, 2)), (0.95, 1.1, (1, 1, 1)), (0.5, 0.6, (2, 1, 1))):
        records = [base, replace(quick, speedup_low=low, speedup_high=high), other]
        cases = report_of(tmp_path, records).cases
        (ranked,) = rankings(cases)
        found = {(each.case.record.model, each.case.record.runtime): each.speed for each in ranked}
        assert (found["net", "compile"], found["other", "eager"], found["net", "eager"]) == places
        beaten = {case.record.runtime: by.record.runtime for case, by in fronts(cases)[0].beaten_by}
        assert beaten == ({"eager": "compile"} if low > 1 else {"compile": "eager"} if high < 1 else {})


def test_between_two_modules_of_ones_own_it_decides_too(tmp_path: Path) -> None:
    mine = {"precision": "own", "workload": "generate", "batch": 4}
    base = timed(40.0, model="base", weights="file:base.py:1", **mine)
    quick = timed(39.0, model="quick", weights="file:quick.py:2", **mine)
    compared = replace(quick, baseline="base", speedup=1.03, speedup_low=1.02, speedup_high=1.04)
    (ranked,) = rankings(report_of(tmp_path, [base, compared]).cases)
    assert [(each.case.record.model, each.speed) for each in ranked] == [("quick", 1), ("base", 2)]
