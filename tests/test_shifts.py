"""Shifts are found where there are some, and hardly ever where there are none: simulated."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from fixtures.history.series import Mark, Series
from fixtures.history.shifts import change_points, shifts_of

DAY = datetime(2026, 1, 1, tzinfo=UTC)


def series(found: list[float] | np.ndarray, metric: str = "latency_p50_ms") -> Series:
    marks = tuple(Mark(DAY + timedelta(days=day), f"run{day}", f"{day:08x}") for day in range(len(found)))
    return Series("case", "machine", metric, marks, tuple(map(float, found)))


Noise = Callable[[np.random.Generator, int], np.ndarray]


def calm(rng: np.random.Generator, count: int) -> np.ndarray:
    return 10 * np.exp(rng.normal(0, 0.02, count))


def wild(rng: np.random.Generator, count: int) -> np.ndarray:
    """As processes here: one in ten 3 to 25 % slow."""
    off = rng.normal(0, 0.015, count)
    slow = rng.random(count) < 0.1
    off[slow] += rng.uniform(0.03, 0.25, slow.sum())
    return 10 * np.exp(off)


@pytest.mark.parametrize(
    ("noise", "count", "most"),
    [(calm, 20, 0.01), (calm, 200, 0.01), (wild, 10, 0.03), (wild, 20, 0.04), (wild, 200, 0.16)],
)
def test_runs_of_equal_code_hardly_ever_shift(noise: Noise, count: int, most: float) -> None:
    rng = np.random.default_rng(5)
    assert np.mean([bool(shifts_of(series(noise(rng, count)))) for _ in range(200)]) <= most


@pytest.mark.parametrize(
    ("before", "after", "change", "least"),
    [(20, 20, 0.05, 0.85), (20, 20, -0.1, 0.95), (10, 10, 0.1, 0.9), (18, 2, 0.1, 0.65)],
)
def test_a_shift_is_found_where_it_is(before: int, after: int, change: float, least: float) -> None:
    rng = np.random.default_rng(6)
    found = 0
    for _ in range(100):
        values = wild(rng, before + after)
        values[before:] *= 1 + change
        shifts = [shift for shift in shifts_of(series(values)) if (shift.change > 0) == (change > 0)]
        found += any(abs(int(shift.first.commit, 16) - before) <= 2 for shift in shifts)
    assert found / 100 >= least


def test_memory_varies_and_is_tested_too() -> None:
    rng = np.random.default_rng(5)
    assert np.mean([bool(shifts_of(series(wild(rng, 10), "peak_host_bytes"))) for _ in range(200)]) <= 0.03


def test_counts_shift_without_any_noise() -> None:
    (shift,) = shifts_of(series([100.0] * 5 + [103.0] * 2, "params"))
    assert (shift.last.commit, shift.first.commit, shift.runs) == ("00000004", "00000005", (5, 2))
    assert shift.change == pytest.approx(0.03)
    assert shifts_of(series([100.0] * 5 + [101.0] * 2, "params")) == []
    assert shifts_of(series([100.0] * 5 + [101.0] * 2, "params"), least=0.005) != []
    (shift,) = shifts_of(series([100.0] * 5 + [90.0] * 5, "params"))
    assert shift.change == pytest.approx(-0.1)


def test_too_few_runs_and_one_run_that_is_off_are_no_shift() -> None:
    assert change_points([1.0, 9.0, 9.0]) == []
    assert shifts_of(series([10.0, 10.1, 9.9, 10.0, 15.0, 10.1, 9.9, 10.0])) == []
