"""Budgets: what a file may say, verdicts with their margins, the next step, and the exit code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.judge.budgets import Budget, built_in, find_budget
from fixtures.judge.checks import Check
from fixtures.judge.fit import CaseFit, check, fit
from fixtures.judge.limits import BudgetError, Limit, parse_limit
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
    assert verdict("latency", "> 9 ms", few).verdict == "met"  # whatever the p95 is, it is more than the p50
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


def test_memory_of_the_runtime_and_of_the_model_are_apart(record: Record) -> None:
    """Nothing could keep 100 MB in a process that holds torch: then the model's own counts, and it is said."""
    small = replace(record, host_increment_bytes=30_000_000)
    found = verdict("memory", "< 100 MB", small)
    assert (found.verdict, found.measured) == ("met", 30e6)
    assert found.note == "the model's own; Python and torch take 524 MB before it, on no such device"
    assert verdict("memory", "< 20 MB", small).verdict == "violated"
    # where torch fits, the process is what is deployed
    assert verdict("memory", "< 600 MB", small).measured == 700 * 2**20
    assert verdict("memory", "< 600 MB", small).verdict == "violated"
    # of an older record, of a GPU, and of a process that held others nothing is known or nothing changes
    assert verdict("memory", "< 100 MB", record).verdict == "violated"
    assert verdict("memory", "< 100 MB", replace(small, process_of_its_own=False)).verdict == "unknown"
    assert verdict("memory", "< 100 MB", replace(small, peak_device_allocated_bytes=10**9)).verdict == "violated"


def test_what_belongs_to_the_model_may_stand_in_another_of_its_cases(record: Record) -> None:
    judged = replace(record, map50_95=0.5, imgsz=320)
    found = verdict("map", "> 0.4", record, judged)
    assert (found.measured, found.note) == (0.5, "map50_95 measured at 320 px")
    assert verdict("map", "> 0.4", record, replace(judged, model="other")).verdict == "unknown"
    assert verdict("map", "> 0.4", record, replace(judged, precision="bf16")).verdict == "unknown"


def test_a_cost_in_another_currency_is_unknown(record: Record) -> None:
    priced = replace(record, cost_per_day=100.0, currency="EUR")
    assert verdict("cost", "< 200 EUR/day", priced).verdict == "met"
    assert verdict("cost", "< 200 $/day", priced).note == "the price is in EUR, the limit in USD"


def test_queries_are_samples_whatever_throughput_counts(record: Record) -> None:
    assert verdict("qps", "> 500", replace(record, throughput_p50_per_s=16_000.0)).measured == 800.0
    assert verdict("qps", "> 500", replace(record, qps_window_per_s=900.0)).measured == 900.0


def test_two_budgets_of_one_name_are_refused(run: Run, project: pytest.Pytester) -> None:
    (project.path / "iot.toml").write_text('[must]\nlatency = "< 100 s"\n')
    result = run(*OWN, "--budget=iot", "--budget=./iot.toml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--budget: two have the name 'iot'*"])


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
