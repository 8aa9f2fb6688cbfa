"""What the fields of a record mean, and that everything that treats fields alike asks for it."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from datetime import datetime

import pytest

from fixtures.history.series import Mark, Series
from fixtures.history.shifts import shifts_of
from fixtures.judge.limits import Limit
from fixtures.judge.pairs import Pair
from fixtures.judge.questions import SAVED
from fixtures.judge.rules import FIELDS, Rule, parse_rule
from fixtures.judge.verdicts import judge
from fixtures.options import OPTIONS
from fixtures.record.asked import Window
from fixtures.record.fields import Group
from fixtures.record.notes import absent, note_of, strayed, varying
from fixtures.record.record import GROUPS, MEANINGS, MEASURED_NUMBERS, Record

_NUMBERS = {"int", "float", "int | None", "float | None"}


def test_every_field_declares_what_it_is() -> None:
    assert list(MEANINGS) == [each.name for each in fields(Record)]
    for each in fields(Record):
        is_number = MEANINGS[each.name].is_number or MEANINGS[each.name].kind == "setting"
        assert is_number == (each.type in _NUMBERS), each.name


@pytest.mark.parametrize("name", [name for name in MEASURED_NUMBERS if MEANINGS[name].unit in ("ms", "bytes")])
def test_units_are_those_in_the_names(name: str) -> None:
    assert name.endswith(f"_{MEANINGS[name].unit}") or "_bytes" in name


@pytest.mark.parametrize(
    ("text", "before", "after", "status"),
    [
        ("speedup:5%", 1.5, 3.0, "improved"),
        ("speedup:5%", 3.0, 1.0, "regression"),
        ("agreement_cosine_min:1%", 0.99, 0.95, "regression"),
        ("map50_95", 0.50, 0.48, "pass"),  # within the default limit
        ("map50_95", 0.50, 0.40, "regression"),
        ("agreement_top1", 0.9, 1.0, "improved"),
        ("agreement_max_abs", 0.1, 0.2, "regression"),
        ("map50_95:1%", 0.50, 0.48, "regression"),
        ("map50_95:5%", 0.50, 0.48, "pass"),
        ("runtime_file_bytes", 1000, 1001, "regression"),
    ],
)
def test_which_way_is_better_is_the_fields_own(
    record: Record, text: str, before: float, after: float, status: str
) -> None:
    """A doubled speed-up was called a regression."""
    rule = parse_rule(text)
    five = (1.0, 1.01, 0.99, 1.005, 0.995)

    def side(value: float) -> Record:
        several = {} if rule.exact else {rule.field: tuple(value * share for share in five)}
        return replace(record, **{rule.field: value}, process_values=several)

    (verdict,) = judge([Pair("a", rule, side(before), side(after))], SAVED)
    assert verdict.status == status


@pytest.mark.parametrize("name", FIELDS)
def test_gate_and_history_hold_the_same_fields_for_exact(name: str) -> None:
    """There were two lists. A change of 3 % in two runs each is a shift only of what no run of equal code changes."""
    marks = tuple(Mark(datetime(2026, 1, day), f"{day:04}", "") for day in range(1, 7))
    series = Series("a", "", name, marks, (1.0, 1.0, 1.0, 1.03, 1.03, 1.03))
    assert bool(shifts_of(series)) == Rule(name).exact


@pytest.mark.parametrize("name", ["stage_denoising_ms", "first_call_ms", "latency_p95_ms", "qps_window_per_s"])
def test_times_and_rates_follow_the_machine(name: str) -> None:
    assert MEANINGS[name].follows_machine
    assert Limit(name, "must", True, 1.0, "").follows_speed


def test_more_is_better_of_these_and_less_of_all_others() -> None:
    quality = (
        *("recall_at_1_image_to_text", "recall_at_5_image_to_text", "recall_at_10_image_to_text"),
        *("recall_at_1_text_to_image", "recall_at_5_text_to_image", "recall_at_10_text_to_image"),
        *("top1_accuracy", "precision_macro", "recall_macro", "f1_macro", "map50", "map50_95", "bleu", "own_metric"),
        *("agreement_cosine_mean", "agreement_cosine_min", "agreement_top1", "agreement_boxes"),
        *(f"coco_ap{which}" for which in ("", "50", "75", "_small", "_medium", "_large")),
        *(f"mask_iou_{prompt}{half}" for prompt in ("box", "point") for half in ("", "_over_half")),
        "clip_score",
    )
    rates = ("throughput_mean_per_s", "throughput_p50_per_s", "qps_window_per_s", "best_throughput_per_s")
    use = ("clock_mean_mhz", "samples_per_joule", "mfu", "mbu", "device_peak_gflops_per_s", "device_peak_gbytes_per_s")
    found = {name for name in MEASURED_NUMBERS if MEANINGS[name].better == "more"}
    assert found == {*quality, *rates, *use, "speedup", "speedup_low", "speedup_high"}


def test_what_no_run_of_equal_code_changes() -> None:
    sizes = ("weights_bytes", "model_file_bytes", "runtime_file_bytes", "size_ratio", "device_model_bytes")
    shares = ("quantized_share", "precision_share")
    costs = ("gmacs", "gflops", "gmadds", "mem_read_bytes", "mem_write_bytes", "arithmetic_intensity")
    counts = ("params", "params_trainable", "denoiser_calls", "denoiser_rows", "peak_device_allocated_bytes")
    found = {name for name in MEASURED_NUMBERS if MEANINGS[name].kind == "counted"}
    assert found == {*sizes, *costs, *counts, *shares}


def test_what_a_field_can_be() -> None:
    """Of a file that says otherwise the record is damaged; else a logarithm or a ratio of it would be nothing."""
    latencies = {f"latency_{name}_ms" for name in ("mean", "min", "max", "p50", "p90", "p95", "p99", "per_sample")}
    rates = {"throughput_mean_per_s", "throughput_p50_per_s", "qps_window_per_s", "best_throughput_per_s", "rate_per_s"}
    speedups = {"speedup", "speedup_low", "speedup_high"}
    samples = {f"speedup_{name}samples_ms" for name in ("", "baseline_", "alone_", "baseline_alone_")}
    sizes = {"batch", "imgsz", "imgsz_native", "iters", "best_batch", "throughput_curve", "process_rounds"}
    positive = {name for name, meaning in MEANINGS.items() if meaning.sign == "positive"}
    assert positive == {
        *latencies,
        *rates,
        *speedups,
        *samples,
        *sizes,
        "every_ms",
        "canary_matmul_ms",
        "canary_copy_ms",
    }
    any_sign = {name for name, meaning in MEANINGS.items() if meaning.sign == "any"}
    assert {"own_metric", "agreement_cosine_min", "soak_growth_bytes_per_1000_calls", "power_mean_w"} <= any_sign
    assert not any_sign & {"params", "gflops", "peak_host_bytes", "device_peak_gbytes_per_s", "mfu", "load_s"}


def test_what_is_off_from_process_to_process_as_the_p50_is() -> None:
    follow = {name for name, meaning in MEANINGS.items() if meaning.as_p50}
    costs = {"cost_per_1000", "cost_per_million", "cost_per_day", "best_cost_per_1000", "best_cost_per_million"}
    costs.add("machines_needed")
    times = {"latency_p50_ms", "latency_per_sample_ms", "wall_p50_ms", "throughput_p50_per_s"}
    assert follow == {*times, *costs, "mfu", "mbu", "agreement_max_abs", "agreement_max_rel"}


def test_of_several_processes_the_highest_peak_counts() -> None:
    peaks = ("host_increment_bytes", "peak_host_bytes", "peak_device_allocated_bytes", "peak_device_reserved_bytes")
    assert {name for name, meaning in MEANINGS.items() if meaning.highest} == {*peaks}


def test_a_group_names_every_field_once_and_a_record_is_made_of_them() -> None:
    names = [name for group in GROUPS for name in group.names()]
    assert names == [each.name for each in fields(Record)]
    assert len(set(names)) == len(names)


def test_what_is_measured_twice_is_an_error(record: Record) -> None:
    with pytest.raises(ValueError, match="measured twice: window_s, qps_window_per_s"):
        Record.of(Window(window_s=1.0), Window(window_s=2.0))


@pytest.mark.parametrize("group", GROUPS)
def test_what_a_pass_says_of_its_absence_is_of_its_fields_alone(group: type[Group], record: Record) -> None:
    """`device_*` of the roofline would speak of the memory too."""
    (note,) = replace(record, notes=(str(absent(group, "nothing to see")),)).notes_on(*group.names())
    assert [name for name in MEANINGS if note.concerns(name)] == list(group.names())
    assert note == absent(group, "nothing to see")
    assert (note.asked_for, absent(group).asked_for) == (True, False)


def test_notes_are_read_as_they_were_written() -> None:
    lines = ("varies: gmacs, gflops", "strayed: 10 calls, 1 later", "said NaN", "varies: gflops, mfu", "imgsz: a: b")
    assert [str(note_of(line)) for line in lines] == list(lines)
    assert varying(lines) == ["gmacs", "gflops", "mfu"]
    assert strayed(lines) == ["10 calls, 1 later"]


def test_what_an_option_measures_names_it() -> None:
    """What is told beside latency is there since somebody asked for it."""
    known = {option.name for option in OPTIONS}
    for name, meaning in MEANINGS.items():
        named = re.findall(r"--[a-z-]+", meaning.measured_by)
        assert set(named) <= known, name
        assert named or not meaning.told or name.startswith("remote_"), name
