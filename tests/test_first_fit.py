"""Of the variants of a run the one that must be named is: thirty made runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fixtures.judge.budgets import Budget, built_in
from fixtures.judge.first_fit import first_fits
from fixtures.judge.fit import CaseFit, fit
from fixtures.record.record import Record
from fixtures.show import budget_table
from tests.test_budgets import limit
from tests.test_losses import asked, right

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


@pytest.mark.parametrize("other", [{"every_ms": 200.0}, {"steps": 4}])
def test_variants_of_other_work_are_no_variants_of_it(record: Record, other: dict[str, Any]) -> None:
    records = variants(record, {})
    records["bf16"] = replace(records["bf16"], **other)
    budget = Budget("b", (limit("latency", "< 55 ms"),))
    fits = [fit(which, each, budget, list(records.values())) for which, each in records.items()]
    (first,) = first_fits(fits)
    assert first.chosen is not None
    assert first.chosen.nodeid == "compiled"


def fits_of(record: Record, changed: dict[str, ROW | dict[str, Any]], ms: int) -> list[CaseFit]:
    records = variants(record, changed)
    budget = Budget("b", (limit("latency", f"< {ms} ms"),), built_in()["iot"].losses)
    return [fit(which, each, budget, list(records.values())) for which, each in records.items()]


def test_a_loss_that_is_not_sure_fails_nothing_and_is_not_chosen(record: Record) -> None:
    """Twelve of 200 lost in the last parts of the list: six points, of which the interval holds two."""
    (first,) = first_fits(fits_of(record, {"bf16": {"top1_accuracy": 0.92}}, 55))
    fits = {each.nodeid: each for each in first.fits}
    assert not fits["bf16"].fails(strict=False)
    assert fits["bf16"].fails(strict=True)
    assert first.chosen is not None
    assert first.chosen.nodeid == "compiled"


def test_the_nearest_says_what_it_is_over_though_that_is_not_sure(record: Record) -> None:
    lost: dict[str, ROW | dict[str, Any]] = {name: {"top1_accuracy": 0.92} for name in FORMS if name != "fp32"}
    fits = fits_of(record, lost, 55)
    (first,) = first_fits(fits)
    assert first.chosen is None
    assert "none fits; the nearest: fp32, 9% over (latency < 55 ms, measured 60 ms)" in budget_table.text(fits, 300)


def test_the_nearest_is_the_one_that_is_the_least_over(record: Record) -> None:
    lost: dict[str, ROW | dict[str, Any]] = {"pruned": (18, 6, 188), "pruned int8": (20, 1.5, 187)}
    (first,) = first_fits(fits_of(record, lost, 10))
    assert first.nearest is not None
    assert first.nearest.nodeid == "pruned"


def test_thirty_of_them() -> None:
    assert len(RUNS) == 30
