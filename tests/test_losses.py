"""What a variant loses in quality: on the same list, with an interval, against what may be lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from fixtures.judge.acceptable import loss_checks
from fixtures.judge.budgets import built_in, find_budget
from fixtures.judge.checks import Check
from fixtures.judge.limits import BudgetError, parse_loss
from fixtures.judge.losses import losses
from fixtures.quality.metrics import classification
from fixtures.record.record import Record
from fixtures.show.speedups import text
from fixtures.show.variant_rows import rows_of
from fixtures.stats.left_out import half_width


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


BATCHES = ((1, 30.0), (4, 26.0))


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
    apart = ({"quality_data": "labels:other"}, {"imgsz": 320}, {"model": "m"}, {"workload": "w"}, {"every_ms": 5.0})
    for other in apart:
        assert losses(lower, [replace(full, **other), lower]) == []
    assert losses(full, [full, lower]) == []
    # its own baseline is what it was made of
    compiled = asked(record, right(200, 12), runtime="compile")
    (loss,) = losses(replace(lower, baseline="fp32-compile"), [full, compiled, lower])
    assert loss.before == pytest.approx(0.94)


@pytest.mark.parametrize(
    ("count", "wrong", "verdict", "beyond"),
    [
        (200, 10, "met", False),
        (200, 13, "unknown", False),  # 1.5 points, and up to 3.2
        (200, 14, "unknown", True),  # 2 points are not less than 2; 0.04 to 3.96
        (200, 60, "violated", True),
        (148, 10, "unknown", False),  # no answer differs, and 2.004 % might all the same
        (149, 10, "met", False),
        (10, 10, "unknown", False),
    ],
)
def test_two_points_of_accuracy_may_be_lost(record: Record, count: int, wrong: int, verdict: str, beyond: bool) -> None:
    """Where the interval holds the limit nobody knows; the best estimate is told all the same."""
    full, lower = asked(record, right(count, 10)), asked(record, right(count, wrong), precision="int8")
    (found,) = checks(lower, full)
    assert (found.limit.name, found.verdict, found.beyond) == ("accuracy loss", verdict, beyond)
    assert "top1_accuracy; 95 % CI" in found.note
    assert f"{count} items" in found.note
    assert ("weak" in found.note) == (count < 100)
    assert ("a longer list would tell" in found.note) == (verdict == "unknown")


def test_a_short_list_without_an_interval_shows_nothing(record: Record) -> None:
    """A metric of one's own is a number and no more."""
    own = replace(built_in()["iot"], losses=(parse_loss("own_metric", "< 1", "b"),))
    full = replace(record, own_metric=0.9, quality_count=10)
    lower = replace(full, precision="int8", own_metric=0.1)
    (found,) = loss_checks(lower, own, [full, lower])
    assert (found.verdict, found.beyond) == ("unknown", False)
    longer = [replace(each, quality_count=100) for each in (full, lower)]
    (found,) = loss_checks(longer[1], own, longer)
    assert found.verdict == "met"


def test_a_loss_is_of_the_same_batch_and_weights(record: Record) -> None:
    """Noise is drawn a batch at a time: 30 at batch 1 and 26 at batch 4 are not a loss of four."""
    made = {(p, b): replace(record, precision=p, batch=b, clip_score=s) for p in ("fp32", "bf16") for b, s in BATCHES}
    records = list(made.values())
    assert [loss.drop for loss in losses(made["bf16", 4], records)] == [0]
    assert [loss.drop for loss in losses(made["bf16", 1], records)] == [0]
    other = replace(made["fp32", 4], weights="file:other.pt:abc", clip_score=90.0)
    assert [loss.drop for loss in losses(made["bf16", 4], [other, *records])] == [0]
    assert losses(made["bf16", 4], [other, made["bf16", 4]]) == []


def test_the_chosen_baseline_is_set_against_nothing(record: Record) -> None:
    """Of `--baseline=bf16-eager`: it is no variant of fp32, though that was measured too."""
    full = asked(record, right(200, 10), baseline="bf16-eager")
    base = asked(record, right(200, 60), precision="bf16")
    lower = asked(record, right(200, 62), precision="int8", baseline="bf16-eager")
    records = [full, base, lower]
    assert losses(base, records) == []
    assert list(loss_checks(base, built_in()["iot"], records)) == []
    assert [loss.before for loss in losses(lower, records)] == [pytest.approx(0.70)]
    assert [loss.drop for loss in losses(full, records)] == [pytest.approx(-0.25)]


def test_equal_losses_of_every_part_are_known_but_for_rounding(record: Record) -> None:
    """0.1 + 0.2 is not 0.3: rounding is no spread."""
    full = asked(record, right(200, 10))
    shifted = {"top1_accuracy": tuple(each - 0.07 for each in full.quality_jackknife["top1_accuracy"])}
    lower = replace(full, precision="int8", top1_accuracy=full.top1_accuracy - 0.07, quality_jackknife=shifted)  # type: ignore[operator]
    (loss,) = losses(lower, [full, lower])
    assert loss.half == pytest.approx(1 - 0.05 ** (1 / 200))


def test_what_is_no_share_of_items_is_known_where_every_part_lost_as_much(record: Record) -> None:
    full = replace(record, bleu=30.0, quality_count=50, quality_jackknife={"bleu": (30.0, 31.0, 29.0)})
    (loss,) = losses(replace(full, precision="bf16"), [full, replace(full, precision="bf16")])
    assert (loss.drop, loss.half) == (0, 0)


def test_a_share_of_what_it_was_has_its_interval_in_such_shares(record: Record) -> None:
    """Of AP 0.5 the loss of 0.01 is 2 %, and of three parts the two that differ by 0.01 are 1 % off it."""
    full = replace(record, coco_ap=0.5, quality_count=500, quality_jackknife={"coco_ap": (0.5, 0.5, 0.5)})
    lower = replace(full, precision="int8", coco_ap=0.49, quality_jackknife={"coco_ap": (0.485, 0.49, 0.495)})
    (found,) = checks(lower, full)
    half = half_width([0.015, 0.01, 0.005]) / 0.5 * 100
    assert found.measured == pytest.approx(0.02)
    assert f"95 % CI {2 - half:+.2g} … {2 + half:+.2g}" in found.note


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
    record = replace(record, quality_count=500)
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
    assert checks(replace(record, device="remote", precision="remote", runtime="openai"), record) == []  # no variant


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
    full = replace(record, coco_ap=0.40, map50_95=0.42, quality_count=500)
    lower = replace(full, runtime="openvino", precision="int8", coco_ap=0.39, map50_95=None)
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
        ('accuracy = "< 1.2.3 points"', "must be at most so much"),
        ('accuracy = "< -1 points"', "must be at most so much"),
        ('accuracy = "< 1e999 points"', "must be at most so much"),
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
    few = replace(asked(record, right(20, 4)), precision="int8", baseline="fp32-eager", speedup=2.0)
    shown = text(rows_of([asked(record, right(20, 2)), few], []), 200)
    assert "int8-eager: accuracy loss may be more than is acceptable" in shown


def test_what_a_case_of_its_own_shows_stands_beside_the_speed_up(record: Record) -> None:
    """Quality is asked in `test_classification`, the speed-up is of `test_forward`."""
    full, lower = record, replace(record, precision="int8", baseline="fp32-eager", speedup=2.0)
    others = [asked(each, right(200, 10 + 20 * (each is lower)), workload="classification") for each in (full, lower)]
    rows = rows_of([full, lower, *others], [])
    assert [len(row.lost) for row in rows if row.case == "net forward b8 224"] == [0, 1]
