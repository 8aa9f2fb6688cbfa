"""Budgets: what a file may say, verdicts with their margins, the next step, and the exit code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.judge.budgets import Budget, BudgetError, Limit, built_in, find_budget, parse_limit
from fixtures.judge.first_fit import first_fits
from fixtures.judge.fit import CaseFit, Check, advise, check, fit, quality_drop
from fixtures.record.record import Record
from fixtures.show import budget_table
from tests.conftest import OWN, Run, no_traceback


def limit(name: str, text: str) -> Limit:
    return parse_limit(name, text, "must", "--budget=b")


def verdict(name: str, text: str, record: Record, *others: Record) -> Check:
    return check(limit(name, text), record, [record, *others])


def test_the_built_in_budgets_say_what_the_scenarios_say() -> None:
    found = {name: {each.name: each.text for each in budget.limits} for name, budget in built_in().items()}
    assert found == {
        "mobile-app": {"size": "< 10 MB", "latency": "< 100 ms", "power": "< 2 W"},
        "realtime-video": {"fps": "> 15", "latency": "< 66 ms", "map": "> 0.4"},
        "cloud-batch": {"qps": "> 500", "accuracy": "> 95 %", "cost": "< 200 USD/day"},
        "edge-device": {"power": "< 10 W", "memory": "< 2 GB", "latency": "< 100 ms"},
        "iot": {"power": "< 1 W", "size": "< 1 MB", "memory": "< 100 MB"},
    }
    assert all(each.kind == "must" for budget in built_in().values() for each in budget.limits)


@pytest.mark.parametrize(
    ("name", "text", "number"),
    [
        ("latency", "< 0.05 s", 50.0),
        ("size", "<= 10 MiB", 10 * 2**20),
        ("power", "< 500 mW", 0.5),
        ("accuracy", "> 95 %", 0.95),
        ("accuracy", "> 0.95", 0.95),
        ("qps", "> 500", 500.0),
        ("cost", "< 200EUR/day", 200.0),
        ("peak_host_bytes", "< 2e9", 2e9),
    ],
)
def test_limits_are_read_in_the_metrics_unit(name: str, text: str, number: float) -> None:
    assert limit(name, text).number == pytest.approx(number)


@pytest.mark.parametrize(
    ("name", "text", "follows"),
    [
        ("latency", "< 5 ms", True),
        ("qps", "> 5", True),
        ("latency_p50_ms", "< 5", True),
        ("stage_decoder_ms", "< 5", True),
        ("throughput_p50_per_s", "> 5", True),
        ("size", "< 5 MB", False),
        ("params", "< 5", False),
        ("peak_host_bytes", "< 5", False),
    ],
)
def test_what_a_slower_process_may_bring_over_the_limit(name: str, text: str, follows: bool) -> None:
    assert limit(name, text).follows_speed == follows


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("latancy", "< 5 ms", "unknown metric 'latancy'; did you mean latency"),
        ("latency", "< fast", "latency must be a limit such as"),
        ("latency", 5, "latency must be a limit such as"),
        ("latency", "5 ms", "latency must be a limit such as"),
        ("latency", "< 5", "latency needs a unit"),
        ("latency", "< 5 MB", "latency has no unit 'MB'"),
        ("size", "< 10", "size needs a unit"),
        ("power", "< 2", "power needs a unit"),
        ("cost", "< 200", "cost needs a unit such as USD/day"),
        ("cost", "< 200 USD", "cost needs a unit such as USD/day"),
        ("fps", "> 15 fps", "fps has no unit 'fps'"),
        ("latency", "< 1.2.3 ms", "latency must be a limit"),
        ("accuracy", "> 95", "accuracy is a share from 0 to 1, or 0 to 100 %"),
    ],
)
def test_a_limit_that_means_nothing_is_refused(name: str, text: str, message: str) -> None:
    with pytest.raises(BudgetError, match=message):
        limit(name, text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "a budget has the tables"),
        ("latency = '< 5 ms'", "a budget has the tables"),
        ("[must]", "no limit in it"),
        ("[maybe]\nfps = '> 1'", "a budget has the tables"),
        ("must = 3", "are tables of limits"),
        ("[must", "is not TOML"),
    ],
)
def test_a_file_that_is_no_budget_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "b.toml").write_text(content)
    with pytest.raises(BudgetError, match=message):
        find_budget("b.toml", tmp_path)


def test_an_unknown_name_lists_the_built_in_ones(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match=r"'phone' is neither a file nor one of mobile-app, .*iot"):
        find_budget("phone", tmp_path)


def test_verdicts_and_margins(record: Record) -> None:
    record = replace(record, model_file_bytes=5_000_000, batch=1)
    assert verdict("latency", "< 23 ms", record) == Check(limit("latency", "< 23 ms"), 11.5, 0.5, "met", "p95")
    assert verdict("latency", "< 10 ms", record).margin == pytest.approx(-0.15)
    assert verdict("latency", "< 11.5 ms", record).verdict == "violated"
    assert verdict("latency", "<= 11.5 ms", record).verdict == "met"
    assert verdict("fps", "> 80", record).margin == pytest.approx(0.25)
    assert verdict("size", "< 10 MB", record).margin == pytest.approx(0.5)
    memory = verdict("memory", "< 1 GB", record)
    assert (memory.measured, memory.note) == (700 * 2**20, "host")


def test_a_withheld_p95_passes_no_limit_and_may_violate_one(record: Record) -> None:
    """The p50 stood for it, so that a case of fewer rounds passed more easily."""
    few = replace(record, latency_p95_ms=None, iters=23)
    found = verdict("latency", "< 23 ms", few)
    assert (found.measured, found.verdict) == (10.0, "unknown")
    assert found.note == "p50; a p95 takes 59 rounds, not 23: --iters, --max-seconds"
    far = verdict("latency", "< 24 ms", few)
    assert (far.verdict, far.note) == ("met", "p50; the slowest of 23 rounds is far below too")
    over = verdict("latency", "< 9 ms", few)
    assert (over.measured, over.verdict, over.note) == (10.0, "violated", "p50, p95 is withheld")


def test_quality_and_size_are_of_the_very_variant(record: Record) -> None:
    """A pruned model met an mAP that was measured on another variant; an int8 one had the size of fp32's file."""
    full = replace(record, map50_95=0.45, model_file_bytes=12_700_000)
    for variant in ({"prune": 0.5}, {"runtime": "openvino"}, {"precision": "int8"}):
        other = replace(full, map50_95=None, **variant)
        assert verdict("map", "> 0.4", other, full).verdict == "unknown"
        size = verdict("size", "< 20 MB", other, full)
        assert (size.verdict, size.note) == ("unknown", "measure it with --baseline")
        deployed = verdict("size", "< 5 MB", replace(other, runtime_file_bytes=3_660_000), full)
        assert (deployed.measured, deployed.note, deployed.verdict) == (3_660_000, "as deployed", "met")
    assert verdict("size", "< 20 MB", full).measured == 12_700_000


@pytest.mark.parametrize("name", ["memory", "peak_host_bytes", "host_increment_bytes"])
def test_memory_of_a_process_that_held_several_models_is_unknown(record: Record, name: str) -> None:
    """Which of them came first decides how much it is."""
    limit = "< 1 GB" if name == "memory" else "< 1e9"
    shared = replace(record, process_of_its_own=False, host_increment_bytes=5)
    found = verdict(name, limit, shared)
    assert (found.verdict, found.measured) == ("unknown", None)
    assert found.note == "its process held other models too; with --isolate it is this one's own"
    assert verdict(name, limit, replace(shared, process_of_its_own=True)).verdict == "met"
    on_a_gpu = replace(shared, peak_device_allocated_bytes=5)
    assert verdict("memory", "< 1 GB", on_a_gpu).verdict == "met"


def test_memory_is_the_devices_on_a_gpu(record: Record) -> None:
    found = verdict("memory", "< 1 GB", replace(record, peak_device_allocated_bytes=5))
    assert (found.measured, found.note) == (5, "device")


def test_what_was_not_measured_is_unknown_with_what_would_measure_it(record: Record) -> None:
    assert verdict("power", "< 2 W", record).note == "measure it with --energy"
    failed = replace(record, notes=("energy_*, power_*, samples_per_joule: no RAPL counter here",))
    assert verdict("power", "< 2 W", failed).note.endswith("no RAPL counter here")
    assert "--labels=FILE" in verdict("accuracy", "> 95 %", record).note
    assert verdict("map", "> 0.4", record).verdict == "unknown"


def test_what_belongs_to_the_model_may_stand_in_another_of_its_cases(record: Record) -> None:
    judged = replace(record, map50_95=0.5, imgsz=320)
    found = verdict("map", "> 0.4", record, judged)
    assert (found.measured, found.note) == (0.5, "measured at 320 px")
    assert verdict("map", "> 0.4", record, replace(judged, model="other")).verdict == "unknown"
    assert verdict("map", "> 0.4", record, replace(judged, precision="bf16")).verdict == "unknown"


def test_a_cost_in_another_currency_is_unknown(record: Record) -> None:
    priced = replace(record, cost_per_day=100.0, currency="EUR")
    assert verdict("cost", "< 200 EUR/day", priced).verdict == "met"
    assert verdict("cost", "< 200 $/day", priced).note == "the price is in EUR, the limit in USD"


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


def test_queries_are_samples_whatever_throughput_counts(record: Record) -> None:
    assert verdict("qps", "> 500", replace(record, throughput_p50_per_s=16_000.0)).measured == 800.0
    assert verdict("qps", "> 500", replace(record, qps_window_per_s=900.0)).measured == 900.0


def test_two_budgets_of_one_name_are_refused(run: Run, project: pytest.Pytester) -> None:
    (project.path / "iot.toml").write_text('[must]\nlatency = "< 100 s"\n')
    result = run(*OWN, "--budget=iot", "--budget=./iot.toml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--budget: two have the name 'iot'*"])


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
    assert quality_drop(pruned, [full, pruned]) == ("top1_accuracy", pytest.approx(0.05))
    assert quality_drop(lower, [full, lower]) == ("top1_accuracy", pytest.approx(0.05))
    assert "fell by 5.0 % against fp32 (over 3 %): distillation" in advice(lower, ("latency", "< 1 s"), others=(full,))
    assert "distillation" not in advice(replace(lower, top1_accuracy=0.78), ("latency", "< 1 s"), others=(full,))
    assert quality_drop(full, [full]) is None
    # a loss of the user's own may be below zero, where less is worse too
    before, after = replace(record, own_metric=-1.0), replace(record, precision="bf16", own_metric=-2.0)
    assert quality_drop(after, [before, after]) == ("own_metric", pytest.approx(1.0))
    assert quality_drop(replace(lower, imgsz=320), [full]) is None
    assert quality_drop(replace(lower, quality_data="labels:other.csv"), [full]) is None


def test_a_should_never_fails_and_unknown_only_when_strict(record: Record) -> None:
    def fails(kind: str, name: str, text: str, strict: bool) -> bool:
        budget = Budget("b", (replace(limit(name, text), kind=kind),))  # type: ignore[arg-type]
        return fit("id", record, budget, [record]).fails(strict)

    assert fails("must", "latency", "< 1 ms", False)
    assert not fails("should", "latency", "< 1 ms", True)
    assert not fails("must", "power", "< 1 W", False)
    assert fails("must", "power", "< 1 W", True)


def test_the_table_shows_limits_in_their_own_unit(record: Record) -> None:
    budget = Budget("b", (limit("memory", "< 2 GB"), limit("latency", "< 0.005 s")))
    fits: list[CaseFit] = [fit("id", record, budget, [record])]
    text = budget_table.text(fits)
    assert "0.734 GB" in text
    assert "0.0115 s" in text
    assert "violated" in text
    assert "next for forward net fp32 b8 224: 1. latency is 2.3 times" in text
    assert all(len(line) <= budget_table.WIDTH for line in text.splitlines()[:4])


def test_a_budget_decides_the_exit_code(run: Run, project: pytest.Pytester) -> None:
    (project.path / "wide.toml").write_text('[must]\nlatency = "< 100 s"\nsize = "< 1 GB"\n')
    (project.path / "tight.toml").write_text('[must]\nlatency = "< 0.000001 ms"\n[should]\nsize = "< 1 B"\n')
    (project.path / "soft.toml").write_text('[should]\nsize = "< 1 B"\n')
    passing = run(*OWN, "--budget=wide.toml", "--benchmark-json=out.json")
    passing.stdout.fnmatch_lines(["*budget: wide*", "*latency (must)*met*", "wide: 1 of 1 cases fit"])
    assert passing.ret == 0
    failing = run(*OWN, "--budget=wide.toml", "--budget=tight.toml")
    failing.stdout.fnmatch_lines(["*latency (must)*violated*", "next for forward net*", "tight: 0 of 1 cases fit"])
    assert failing.ret == 1
    assert run(*OWN, "--budget=soft.toml").ret == 0
    assert '"budgets"' in (project.path / "out.json").read_text()


def test_unknown_fails_only_when_strict(run: Run, project: pytest.Pytester) -> None:
    (project.path / "power.toml").write_text('[must]\npower = "< 1 kW"\n')
    assert run(*OWN, "--budget=power.toml").ret == 0
    strict = run(*OWN, "--budget=power.toml", "--budget-strict")
    strict.stdout.fnmatch_lines(["*power (must)*unknown*measure it with --energy*"])
    assert strict.ret == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--budget=phone",), "*'phone' is neither a file nor one of mobile-app*"),
        (("--budget=iot", "--benchmark-disable"), "*--budget: nothing is measured under --benchmark-disable*"),
    ],
)
def test_a_budget_that_cannot_be_used_is_a_usage_error(run: Run, arguments: tuple[str, ...], message: str) -> None:
    result = run(*OWN, *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])
    no_traceback(result)


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
