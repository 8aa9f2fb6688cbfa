"""What a case should change to fit its budget, and which of its variants fits first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fixtures.judge.budgets import Budget
from fixtures.judge.first_fit import first_fits
from fixtures.judge.fit import advise, check, fit
from fixtures.record.record import Record
from fixtures.show import budget_table
from tests.test_budgets import limit, verdict

# What a case is, what is too much of it, and what must and must not be said.
ADVICE: dict[str, tuple[dict[str, object], tuple[str, str], str, tuple[str, ...]]] = {
    "eager, far over": ({}, ("latency", "< 2 ms"), "a compiled runtime", ("int8", "lower precision")),
    "openvino, far over": (
        {"runtime": "openvino"},
        ("latency", "< 2 ms"),
        "a lower precision",
        ("compiled", "OpenVINO"),
    ),
    "compiled, far over": ({"runtime": "compile"}, ("fps", "> 9999"), "a lower precision", ("compiled runtime",)),
    "onnxruntime int8, far over": (
        {"runtime": "onnxruntime", "precision": "int8"},
        ("latency", "< 2 ms"),
        "a smaller input or model",
        ("compiled runtime", "int8", "lower precision"),
    ),
    "bf16, near": ({"precision": "bf16"}, ("latency", "< 8 ms"), "a smaller input or int8", ("lower precision",)),
    "int8, near": ({"precision": "int8"}, ("latency", "< 8 ms"), "a smaller input or model", ("int8", "lower")),
    "int8, memory-bound": (
        {"precision": "int8", "bound": "memory", "runtime": "openvino"},
        ("fps", "> 9999"),
        "a smaller model moves fewer bytes",
        ("lower precision", "compiled"),
    ),
    "graphs, launch-bound": (
        {"runtime": "cudagraph", "bound": "launch"},
        ("latency", "< 2 ms"),
        "a lower precision",
        ("CUDA graphs", "compiled"),
    ),
    "int8, too large": ({"precision": "int8"}, ("size", "< 1 MB"), "pruning", ("int8", "fp16")),
    "int8 pruned, too large": ({"precision": "int8", "prune": 0.5}, ("size", "< 1 MB"), "a smaller model", ("int8",)),
    "bf16, too large": ({"precision": "bf16"}, ("size", "< 3 MB"), "int8", ("bf16",)),
    "int8, too much power": ({"precision": "int8"}, ("power", "< 1 W"), "a smaller input", ("lower precision",)),
    "int8, too much memory": (
        {"precision": "int8", "batch": 1},
        ("memory", "< 1 MB"),
        "a smaller model",
        ("lower precision", "batch"),
    ),
}


@pytest.mark.parametrize("name", ADVICE)
def test_advice_is_never_what_the_case_is_already(record: Record, name: str) -> None:
    changes, limited, said, never = ADVICE[name]
    measured = replace(record, model_file_bytes=5_000_000, runtime_file_bytes=5_000_000, power_mean_w=9.0)
    found = advice(replace(measured, **changes), limited)
    assert said in found
    assert not [each for each in never if each in found], found


def test_where_batch_1_is_nearly_within_the_limit_a_smaller_batch_comes_first(record: Record) -> None:
    one = replace(record, batch=1, latency_p50_ms=5.0, latency_p95_ms=6.0)
    found = advice(record, ("latency", "< 5 ms"), others=(one,))
    assert found == "at batch 1 it takes 6 ms: a smaller batch first"
    slow = replace(one, latency_p95_ms=10.5)
    assert "a compiled runtime" in advice(record, ("latency", "< 5 ms"), others=(slow,))
    for other in (replace(one, imgsz=320), replace(one, workload="nms"), replace(one, runtime="openvino")):
        assert "a compiled runtime" in advice(record, ("latency", "< 5 ms"), others=(other,))


def advice(record: Record, *limits: tuple[str, str], others: tuple[Record, ...] = ()) -> str:
    every = [record, *others]
    return "\n".join(advise(record, [check(limit(*each), record, every) for each in limits], every))


def test_latency_far_over_the_limit_asks_for_a_compiled_runtime(record: Record) -> None:
    assert "latency is 2.3 times the limit (over 2): a compiled runtime" in advice(record, ("latency", "< 5 ms"))
    assert "compiled" not in advice(record, ("latency", "< 6 ms"))
    assert advice(record, ("latency", "< 60 ms")) == ""


def test_a_launch_bound_case_asks_for_graphs_first(record: Record) -> None:
    found = advice(replace(record, bound="launch"), ("latency", "< 5 ms"))
    assert found.startswith("the case is launch-bound: CUDA graphs first")


def test_throughput_far_too_low_asks_for_a_compiled_runtime_too(record: Record) -> None:
    found = advice(record, ("qps", "> 8000"))
    assert found.startswith("qps is 10.0 times too low (over 2): a compiled runtime")
    assert "compute-bound" not in advice(record, ("qps", "> 1000"))
    assert "compute-bound" in advice(replace(record, bound="compute"), ("qps", "> 1000"))


def test_a_remote_model_is_not_told_to_be_compiled_and_has_no_memory(record: Record) -> None:
    remote = replace(record, device="remote")
    assert advice(remote, ("latency", "< 1 ms")) == ""
    assert verdict("memory", "< 1 kB", remote).verdict == "unknown"


def test_a_memory_bound_case_asks_for_a_lower_precision(record: Record) -> None:
    assert "memory-bound: a lower precision" in advice(replace(record, bound="memory"), ("fps", "> 1000"))
    assert "memory-bound" not in advice(replace(record, bound="memory"), ("fps", "> 1"))


def test_size_far_over_the_limit_asks_for_int8(record: Record) -> None:
    large = replace(record, model_file_bytes=30_000_000)
    assert "size is 3.0 times the limit (over 2): int8" in advice(large, ("size", "< 10 MB"))
    assert "fp16 or bf16" in advice(large, ("size", "< 20 MB"))


def test_power_over_the_limit_asks_for_a_lower_precision(record: Record) -> None:
    assert "power is over the limit: a lower precision" in advice(replace(record, power_mean_w=5.0), ("power", "< 2 W"))


def test_memory_over_the_limit_asks_for_a_smaller_batch(record: Record) -> None:
    assert "a smaller batch" in advice(record, ("memory", "< 100 MB"))
    assert "a lower precision" in advice(replace(record, batch=1), ("memory", "< 100 MB"))


def test_a_drop_in_quality_asks_for_distillation(record: Record) -> None:
    full = replace(record, top1_accuracy=0.80)
    lower = replace(record, precision="bf16", top1_accuracy=0.76)
    pruned = replace(record, prune=0.5, top1_accuracy=0.76)
    assert "fell by 5.0 % against fp32 (over 3 %): distillation" in advice(lower, ("latency", "< 1 s"), others=(full,))
    assert "fell by 5.0 % against fp32" in advice(pruned, ("latency", "< 1 s"), others=(full,))
    assert "distillation" not in advice(replace(lower, top1_accuracy=0.78), ("latency", "< 1 s"), others=(full,))


def variants_of(record: Record) -> list[Record]:
    """Each step quicker and smaller than the one before."""
    forms = [{}, {"precision": "bf16"}, {"runtime": "openvino"}, {"precision": "int8", "runtime": "openvino"}]
    forms += [{"prune": 0.5}, {"precision": "int8", "runtime": "openvino", "prune": 0.5}]
    return [
        replace(record, batch=1, baseline="fp32-eager" if form else None, **form, **_times(record, 60.0 - 10 * index))
        for index, form in enumerate(forms)
    ]


def _times(record: Record, ms: float) -> dict[str, float]:
    return {f"latency_{name}_ms": ms for name in ("p50", "p95", "mean", "max")}


@pytest.mark.parametrize(("limit_ms", "index"), [(65, 0), (55, 1), (45, 2), (35, 3), (25, 4), (15, 5), (5, None)])
def test_the_first_variant_that_fits_is_named(record: Record, limit_ms: int, index: int | None) -> None:
    records = variants_of(record)
    budget = Budget("b", (limit("latency", f"< {limit_ms} ms"),))
    for order in (records, records[::-1]):
        fits = [fit(f"{number}", each, budget, order) for number, each in enumerate(order)]
        (first,) = first_fits(fits)
        if index is None:
            assert (first.chosen, first.nearest and first.nearest.record) == (None, records[5])
            assert "of 6 variants of forward net b1 224 none fits; the nearest: " in budget_table.text(fits, 300)
            assert "100% over (latency < 5 ms, measured 10 ms)" in budget_table.text(fits, 300)
        else:
            assert first.chosen is not None
            assert first.chosen.record is records[index]


def test_what_the_first_that_fits_costs_is_told_and_another_model_never_fits(record: Record) -> None:
    full, half, compiled, *_ = variants_of(replace(record, top1_accuracy=0.8))
    budget = Budget("b", (limit("latency", "< 55 ms"), limit("power", "< 2 W")))

    def said(*records: Record) -> str:
        fits = [fit(f"{number}", each, budget, records) for number, each in enumerate(records)]
        return budget_table.text(fits, 300).splitlines()[-1]

    which = "of 2 variants of forward net b1 224 the first that fits: bf16; "
    lost = said(full, replace(half, top1_accuracy=0.76))
    assert lost == f"{which}top1_accuracy -5.0% against fp32; unknown: power"
    unasked = replace(half, top1_accuracy=None, agreement_cosine_min=0.9991)
    assert "bf16; what it costs in quality was not measured, cosine at least 0.9991;" in said(full, unasked)
    for broken in ({"agreement_cosine_min": 0.2}, {"agreement_finite": False}, {"speedup_unequal": ("images",)}):
        assert "fits: fp32-openvino" in said(full, replace(half, **broken), compiled)
    assert not said(full).startswith("of ")


def test_quality_that_was_asked_in_a_case_of_its_own_is_the_variants(record: Record) -> None:
    """`test_classification` has it, and not the forward pass that is deployed."""
    full, half, *_ = variants_of(record)
    asked = [replace(each, workload="classification", top1_accuracy=top1) for each, top1 in ((full, 0.8), (half, 0.6))]
    every = [full, half, *asked]
    budget = Budget("b", (limit("latency", "< 55 ms"),))
    found = {
        first.fits[0].record.workload: first for first in first_fits([fit("", each, budget, every) for each in every])
    }
    assert [loss.share for loss in found["forward"].lost] == [pytest.approx(0.25)]
    assert found["forward"].lost == found["classification"].lost


def test_a_smaller_batch_is_no_way_to_more_a_second(record: Record) -> None:
    one = replace(record, batch=1, latency_p50_ms=5.0, latency_p95_ms=6.0)
    found = advice(record, ("latency", "< 5 ms"), ("fps", "> 9999"), others=(one,))
    assert "a smaller batch" not in found
    assert "a compiled runtime" in found
