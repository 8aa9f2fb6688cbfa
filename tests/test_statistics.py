"""Known answers of the statistics of latencies."""

from __future__ import annotations

import math

import pytest

from fixtures.stats.percentiles import block_logs, fewest_samples, latency_of, percentile_ms


@pytest.mark.parametrize(("q", "fewest"), [(0.90, 29), (0.95, 59), (0.99, 299)])
def test_fewest_samples_are_those_of_the_contract(q: float, fewest: int) -> None:
    assert fewest_samples(q) == fewest
    assert 1 - q**fewest >= 0.95 > 1 - q ** (fewest - 1)


@pytest.mark.parametrize("q", [0.90, 0.95, 0.99])
def test_a_percentile_is_withheld_below_its_fewest_samples(q: float) -> None:
    samples = [float(i) for i in range(fewest_samples(q))]
    assert percentile_ms(samples, q) is not None
    assert percentile_ms(samples[1:], q) is None


def test_percentiles_interpolate_linearly() -> None:
    samples = [float(i) for i in range(101)]
    assert percentile_ms(list(reversed(samples)), 0.95) == pytest.approx(95.0)
    assert percentile_ms([float(i) for i in range(30)], 0.9) == pytest.approx(26.1)


@pytest.mark.parametrize("q", [0.0, 1.0, 95])
def test_q_outside_the_open_interval_is_an_error(q: float) -> None:
    with pytest.raises(ValueError, match="q must lie in"):
        percentile_ms([1.0], q)


def test_no_samples_are_an_error() -> None:
    with pytest.raises(ValueError, match="no samples"):
        latency_of([])


def test_summary_of_five() -> None:
    latency = latency_of([3.0, 1.0, 2.0, 5.0, 4.0])
    assert (latency.latency_min_ms, latency.latency_p50_ms, latency.latency_mean_ms, latency.latency_max_ms) == (
        1.0,
        3.0,
        3.0,
        5.0,
    )
    assert latency.latency_std_ms == pytest.approx(2.5**0.5)  # n - 1
    assert (latency.latency_p90_ms, latency.latency_p95_ms, latency.latency_p99_ms) == (None, None, None)


def test_one_round_has_no_spread() -> None:
    assert latency_of([7.0]).latency_std_ms is None


def test_a_b_b_a_that_is_not_whole_counts_for_nothing() -> None:
    assert block_logs([1.0, 1.0, 9.0], [math.e, math.e**3, 1.0, 1.0]) == pytest.approx([2.0])
    assert block_logs([1.0], [math.e]) == pytest.approx([1.0])  # of a single round there is no better
