"""What a variant loses in quality: on the same list, with an interval, against what may be lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from fixtures.judge.acceptable import loss_checks
from fixtures.judge.budgets import Budget, built_in, find_budget
from fixtures.judge.checks import Check
from fixtures.judge.first_fit import first_fits
from fixtures.judge.fit import fit
from fixtures.judge.limits import BudgetError
from fixtures.judge.losses import losses
from fixtures.quality.metrics import classification
from fixtures.record.record import Record
from fixtures.show.speedups import text
from fixtures.show.variant_rows import rows_of
from fixtures.stats.left_out import half_width
from tests.test_budgets import limit


def asked(record: Record, right: np.ndarray, **changes: Any) -> Record:
    """The record of a model that is right on some images of a list."""
    found = classification(["1"] * len(right), ["1" if each else "0" for each in right])
    return replace(
        record,
        quality_data="labels:l.csv:abc",
        quality_count=len(right),
        top1_accuracy=found.top1_accuracy,
        quality_jackknife=found.quality_jackknife,
        **changes,
    )


def right(count: int, wrong: int) -> np.ndarray:
    """The last ones wrong."""
    return np.arange(count) < count - wrong


def checks(record: Record, *others: Record) -> list[Check]:
    return list(loss_checks(record, built_in()["edge-device"], [record, *others]))


def test_the_interval_is_that_of_the_paired_differences(record: Record) -> None:
    """By hand: of 200 images in 20 parts of ten, the variant is wrong on 6 more, all in the last ten images."""
    full, lower = asked(record, right(200, 10)), asked(record, right(200, 16), precision="int8")
    (loss,) = losses(lower, [full, lower])
    assert (loss.metric, loss.drop, loss.share, loss.count, loss.weak) == (
        *("top1_accuracy", pytest.approx(0.03), pytest.approx(0.03 / 0.95)),
        *(200, False),
    )
    differences = np.zeros(200)
    differences[184:190] = 1
    parts = np.array([differences[index::20].mean() for index in range(20)])
    # each leaves out ten of 200: the usual error of a mean of twenty parts
    expected = stats.t.ppf(0.975, 19) * parts.std(ddof=1) / np.sqrt(20)
    assert loss.half == pytest.approx(expected)


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.array([1.0, 4.0, 2.0, 7.0])
    without = [np.delete(values, index).mean() for index in range(4)]
    assert half_width(without) == pytest.approx(stats.t.ppf(0.975, 3) * values.std(ddof=1) / 2)


def test_where_no_answer_differs_some_might_all_the_same(record: Record) -> None:
    """The rule of three: of 50 equal answers up to 5.8 % may differ."""
    full, lower = asked(record, right(50, 5)), asked(record, right(50, 5), precision="bf16")
    (loss,) = losses(lower, [full, lower])
    assert (loss.drop, loss.half, loss.weak) == (0, pytest.approx(1 - 0.05 ** (1 / 50)), True)


def test_lists_and_forms_that_are_not_the_same_are_not_compared(record: Record) -> None:
    full, lower = asked(record, right(200, 10)), asked(record, right(200, 16), precision="int8")
    for other in ({"quality_data": "labels:other"}, {"imgsz": 320}, {"model": "other"}, {"workload": "other"}):
        assert losses(lower, [replace(full, **other), lower]) == []
    assert losses(full, [full, lower]) == []
    # its own baseline is what it was made of
    compiled = asked(record, right(200, 12), runtime="compile")
    (loss,) = losses(replace(lower, baseline="fp32-compile"), [full, compiled, lower])
    assert loss.before == pytest.approx(0.94)


@pytest.mark.parametrize(("wrong", "verdict"), [(10, "met"), (13, "met"), (14, "violated"), (60, "violated")])
def test_two_points_of_accuracy_may_be_lost(record: Record, wrong: int, verdict: str) -> None:
    """13 of 200 are 1.5 points more than ten, 14 are 2: not less than 2."""
    full, lower = asked(record, right(200, 10)), asked(record, right(200, wrong), precision="int8")
    (found,) = checks(lower, full)
    assert (found.limit.name, found.verdict) == ("accuracy loss", verdict)
    assert "top1_accuracy; 95 % CI" in found.note
    assert "200 items" in found.note
    assert "weak" not in found.note
    assert ("not sure" in found.note) == (wrong in (13, 14))


@pytest.mark.parametrize(
    ("name", "before", "after", "verdict"),
    [
        ("coco_ap", 0.40, 0.381, "met"),  # 4.75 % of what it was
        ("coco_ap", 0.40, 0.379, "violated"),
        ("map50_95", 0.40, 0.379, "violated"),
        ("bleu", 30.0, 27.5, "met"),
        ("bleu", 30.0, 26.9, "violated"),
    ],
)
def test_what_else_may_be_lost(record: Record, name: str, before: float, after: float, verdict: str) -> None:
    full, lower = replace(record, **{name: before}), replace(record, precision="int8", **{name: after})
    (found,) = checks(lower, full)
    assert found.verdict == verdict


def test_few_items_are_weak(record: Record) -> None:
    full, lower = asked(record, right(99, 10)), asked(record, right(99, 10), precision="int8")
    assert "99 items, weak: under 100" in checks(lower, full)[0].note


def test_what_was_not_measured_is_unknown(record: Record) -> None:
    full, lower = asked(record, right(200, 10)), replace(record, precision="int8")
    (found,) = checks(lower, full)
    assert (found.limit.name, found.verdict) == ("accuracy loss", "unknown")
    assert found.note == "measured of the baseline, not of this variant: --labels=FILE"
    (found,) = checks(lower, record)
    assert (found.limit.name, found.verdict) == ("quality loss", "unknown")
    assert checks(record, lower) == []


def test_calls_that_fail_count_of_any_variant(record: Record) -> None:
    sound = replace(record, soak_calls=1_000_000, soak_s=600.0, soak_error_rate=0.00005)
    assert [each.verdict for each in checks(sound)] == ["met"]
    (found,) = checks(replace(sound, soak_error_rate=0.0002))
    assert (found.limit.name, found.verdict, found.note) == ("error_rate", "violated", "200 of 1,000,000 calls")


@pytest.mark.parametrize(("calls", "verdict"), [(1_000, "unknown"), (29_955, "unknown"), (29_957, "met")])
def test_few_calls_do_not_show_that_none_of_ten_thousand_fails(record: Record, calls: int, verdict: str) -> None:
    """The rule of three: without a failure it takes ln(0.05) / ln(1 - 0.0001) calls."""
    (found,) = checks(replace(record, soak_calls=calls, soak_s=60.0, soak_error_rate=0.0))
    assert found.verdict == verdict
    assert ("up to 0.003 may fail" in found.note) == (calls == 1_000)


def test_one_of_two_measures_of_one_thing_is_enough(record: Record) -> None:
    """ultralytics validates the eager model alone: what OpenVINO runs has COCO's AP."""
    full = replace(record, coco_ap=0.40, map50_95=0.42)
    lower = replace(record, runtime="openvino", precision="int8", coco_ap=0.39)
    (found,) = checks(lower, full)
    assert (found.limit.name, found.verdict) == ("map loss", "met")
    assert found.note.startswith("coco_ap")


def test_a_file_of_ones_own_goes_before(tmp_path: Path, record: Record) -> None:
    (tmp_path / "b.toml").write_text(
        '[must]\nlatency = "< 50 ms"\n[loss]\naccuracy = "< 5 %"\nmask_iou = "< 1 points"\n'
    )
    found = {each.name: each.text for each in find_budget("b.toml", tmp_path).losses}
    assert found == {
        "map loss": "< 5 %",
        "bleu loss": "< 3",
        "error_rate": "< 0.01 %",
        "accuracy loss": "< 5 %",
        "mask_iou loss": "< 1 points",
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('accuracy = "< 2"', '[loss] accuracy must be at most so much, as in "< 2 points" or "< 2 %", got \'< 2\''),
        ('accuracy = "> 2 points"', "must be at most so much"),
        ("accuracy = 2", "must be at most so much"),
        ('acuracy = "< 2 points"', "[loss] has no 'acuracy'; did you mean accuracy"),
        ('bleu = "< 3 points"', 'as in "< 2" or "< 2 %"'),
    ],
)
def test_a_loss_that_is_none_is_told(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text(f'[must]\nlatency = "< 50 ms"\n[loss]\n{line}\n')
    with pytest.raises(BudgetError) as error:
        find_budget("b.toml", tmp_path)
    assert message in str(error.value)


def test_the_table_of_variants_shows_the_drop_and_what_is_too_much(record: Record) -> None:
    full = asked(record, right(200, 10))
    lower = asked(record, right(200, 30), precision="int8", baseline="fp32-eager", speedup=2.0)
    shown = text(rows_of([full, lower], []), 200)
    assert "0.100 ± 0.0" in shown
    assert "quality drop: top1_accuracy on 200 items, in its own unit, with its 95 % interval" in shown
    assert "int8-eager: accuracy loss is more than is acceptable (< 2 points)" in shown
    fine = asked(record, right(200, 11), precision="int8", baseline="fp32-eager", speedup=2.0)
    assert "acceptable" not in text(rows_of([full, fine], []), 200)


def test_what_a_case_of_its_own_shows_stands_beside_the_speed_up(record: Record) -> None:
    """Quality is asked in `test_classification`, the speed-up is of `test_forward`."""
    full, lower = record, replace(record, precision="int8", baseline="fp32-eager", speedup=2.0)
    others = [asked(each, right(200, 10 + 20 * (each is lower)), workload="classification") for each in (full, lower)]
    rows = rows_of([full, lower, *others], [])
    assert [len(row.lost) for row in rows if row.case == "net forward b8 224"] == [0, 1]


# Milliseconds, megabytes and images right of 200 of each variant; None: not asked.
ROW = tuple[float, float, int | None]
FORMS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "bf16": {"precision": "bf16"},
    "compiled": {"runtime": "openvino"},
    "int8": {"precision": "int8", "runtime": "openvino"},
    "pruned": {"prune": 0.5},
    "pruned int8": {"prune": 0.5, "precision": "int8", "runtime": "openvino"},
}
BASE: dict[str, ROW] = {
    "fp32": (60, 12, 190),
    "bf16": (50, 6, 190),
    "compiled": (40, 12, 190),
    "int8": (30, 3, 188),
    "pruned": (35, 6, 188),
    "pruned int8": (20, 1.5, 187),
}
# Limits, what differs from BASE, and which variant is named; None where none fits.
RUNS: dict[str, tuple[dict[str, str], dict[str, ROW | dict[str, Any]], str | None]] = {
    "all fit": ({"latency": "< 70 ms"}, {}, "fp32"),
    "16 bits": ({"latency": "< 55 ms"}, {}, "bf16"),
    "compiled": ({"latency": "< 45 ms"}, {}, "compiled"),
    "int8": ({"latency": "< 38 ms"}, {}, "int8"),
    "pruned int8": ({"latency": "< 25 ms"}, {}, "pruned int8"),
    "none": ({"latency": "< 10 ms"}, {}, None),
    "size 16 bits": ({"size": "< 10 MB"}, {}, "bf16"),
    "size int8": ({"size": "< 5 MB"}, {}, "int8"),
    "size pruned int8": ({"size": "< 2 MB"}, {}, "pruned int8"),
    "size none": ({"size": "< 1 MB"}, {}, None),
    "both": ({"size": "< 10 MB", "latency": "< 45 ms"}, {}, "int8"),
    "just not": ({"latency": "< 60 ms"}, {}, "bf16"),
    "just": ({"latency": "<= 60 ms"}, {}, "fp32"),
    "bf16 loses two points": ({"latency": "< 55 ms"}, {"bf16": (50, 6, 186)}, "compiled"),
    "bf16 loses less": ({"latency": "< 55 ms"}, {"bf16": (50, 6, 187)}, "bf16"),
    "int8 loses much": ({"latency": "< 38 ms"}, {"int8": (30, 3, 100)}, "pruned"),
    "int8 and pruned lose much": (
        {"latency": "< 38 ms"},
        {"int8": (30, 3, 100), "pruned": (35, 6, 100)},
        "pruned int8",
    ),
    "every fast one loses much": (
        {"latency": "< 38 ms"},
        {"int8": (30, 3, 100), "pruned": (35, 6, 100), "pruned int8": (20, 1.5, 99)},
        None,
    ),
    "a better one": ({"latency": "< 55 ms"}, {"bf16": (50, 6, 195)}, "bf16"),
    "not asked, but fast": ({"latency": "< 55 ms"}, {"bf16": (50, 6, None)}, "bf16"),
    "accuracy": ({"accuracy": "> 94.5 %", "latency": "< 45 ms"}, {}, "compiled"),
    "accuracy of the variant": ({"accuracy": "> 94.5 %", "latency": "< 38 ms"}, {}, None),
    "accuracy not asked": ({"accuracy": "> 94.5 %", "latency": "< 38 ms"}, {"int8": (30, 3, None)}, "int8"),
    "outputs differ": ({"latency": "< 38 ms"}, {"int8": {"agreement_cosine_min": 0.2}}, "pruned"),
    "outputs are NaN": ({"latency": "< 55 ms"}, {"bf16": {"agreement_finite": False}}, "compiled"),
    "other work": ({"latency": "< 55 ms"}, {"bf16": {"speedup_unequal": ("images",)}}, "compiled"),
    "p95 withheld": (
        {"latency": "< 55 ms"},
        {"bf16": {"latency_p95_ms": None, "latency_max_ms": 52.0, "iters": 20}},
        "bf16",  # unknown is no violation
    ),
    "p95 far over": ({"latency": "< 55 ms"}, {"bf16": {"latency_p95_ms": 56.0}}, "compiled"),
    "slower in 16 bits": ({"latency": "< 55 ms"}, {"bf16": (90, 6, 190)}, "compiled"),
    "a failing call in a thousand": (
        {"latency": "< 55 ms"},
        {"bf16": {"soak_error_rate": 0.001, "soak_calls": 1000, "soak_s": 60.0}},
        "compiled",
    ),
}


def variants(record: Record, changed: dict[str, ROW | dict[str, Any]]) -> dict[str, Record]:
    found = {}
    for name, form in FORMS.items():
        change = changed.get(name, {})
        ms, megabytes, good = change if isinstance(change, tuple) else BASE[name]
        times = {f"latency_{which}_ms": float(ms) for which in ("p50", "p95", "mean", "max")}
        size = {"model_file_bytes": 12_000_000, "runtime_file_bytes": int(megabytes * 1e6)}
        made = replace(record, batch=1, baseline="fp32-eager" if form else None, **form, **times, **size)
        made = made if good is None else asked(made, right(200, 200 - good))
        found[name] = replace(made, **(change if isinstance(change, dict) else {}))
    return found


@pytest.mark.parametrize("name", RUNS)
def test_the_variant_that_must_be_named_is(record: Record, name: str) -> None:
    limits, changed, expected = RUNS[name]
    records = variants(record, changed)
    budget = Budget("b", tuple(limit(*each) for each in limits.items()), built_in()["iot"].losses)
    fits = [fit(which, each, budget, list(records.values())) for which, each in records.items()]
    (first,) = first_fits(fits)
    assert (first.chosen and first.chosen.nodeid) == expected
    assert (first.nearest is None) == (expected is not None)


def test_variants_at_another_pace_are_no_variants_of_it(record: Record) -> None:
    records = variants(record, {})
    records["bf16"] = replace(records["bf16"], every_ms=200.0)
    budget = Budget("b", (limit("latency", "< 55 ms"),))
    fits = [fit(which, each, budget, list(records.values())) for which, each in records.items()]
    (first,) = first_fits(fits)
    assert first.chosen is not None
    assert first.chosen.nodeid == "compiled"


def test_thirty_of_them() -> None:
    assert len(RUNS) == 30
