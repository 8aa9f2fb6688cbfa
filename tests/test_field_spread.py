"""How far a field of one process is off: each by what is known of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fixtures.judge.pairs import Pair
from fixtures.judge.questions import ALTERNATING, SAVED
from fixtures.judge.rules import Rule
from fixtures.judge.verdicts import judge
from fixtures.record.record import Record
from fixtures.stats.field_spread import NOTHING, Known, known_of
from tools.field_spread import counts

P50 = Known(0.035, 3)
# Forty rounds of 10 ms, then ten of 20.
TWO_PACES = [10.0] * 40 + [20.0] * 10


def test_a_fields_spread_is_that_of_its_own_rounds_beside_the_processes() -> None:
    """Means of fifths: 10, 10, 10, 10 and 20."""
    known = known_of("latency_mean_ms", [TWO_PACES], P50)
    assert known.sd == pytest.approx(np.hypot(0.035, np.std(np.log([10, 10, 10, 10, 20]), ddof=1)))
    assert known_of("latency_min_ms", [[10.0] * 50], P50) == P50
    assert known_of("throughput_mean_per_s", [TWO_PACES], P50) == known
    assert known_of("latency_mean_ms", [TWO_PACES, [10.0] * 50], P50).sd < known.sd


@pytest.mark.parametrize("field", ["latency_p50_ms", "throughput_p50_per_s", "peak_host_bytes", "mfu"])
def test_what_follows_the_p50_or_varies_less_has_its_spread(field: str) -> None:
    assert known_of(field, [TWO_PACES], P50) == P50


@pytest.mark.parametrize(
    ("field", "rounds"),
    [
        ("load_s", TWO_PACES),
        ("first_call_ms", TWO_PACES),
        ("energy_per_batch_mj", TWO_PACES),
        ("latency_p95_ms", [10.0, 11.0, 12.0]),
    ],
)
def test_of_others_only_processes_tell(record: Record, field: str, rounds: list[float]) -> None:
    """From one a side nothing is concluded, from several as much as they show; the message says what would tell."""
    assert known_of(field, [rounds], P50) == NOTHING
    base, head = replace(record, **{field: 1.0}), replace(record, **{field: 2.0})  # type: ignore[arg-type]
    (one,) = judge([Pair("a", Rule(field), base, head, processes_ms=(rounds, rounds))], SAVED)
    assert one.status == "inconclusive"
    assert one.why == (
        f"how far {field} differs from process to process, one process a side does not tell; more --processes on both "
        "sides, or --against would"
    )
    several = [
        replace(side, process_values={field: tuple(middle * each for each in (0.98, 1.0, 1.02))})
        for side, middle in ((base, 1.0), (head, 2.0))
    ]
    (known,) = judge([Pair("a", Rule(field), *several)], SAVED)
    assert known.status == "regression"


def test_processes_that_agree_to_the_last_digit_are_judged(record: Record) -> None:
    same = replace(record, load_s=1.0, process_values={"load_s": (1.0, 1.0, 1.0)})
    (verdict,) = judge([Pair("a", Rule("load_s"), same, same)], SAVED)
    assert (verdict.status, verdict.change) == ("pass", 0.0)


@pytest.mark.parametrize("name", ["chosen", "judged"])
def test_equal_code_is_not_named_for_its_p95(record: Record, name: str) -> None:
    """From one process a side; with the p50's spread 55 to 60 in 100 such runs were."""
    found = {count.field: count for count in counts(record, name, 1, 2.0, 15)}
    for field in ("mean", "std", "max", "p90", "p95"):
        assert found[f"latency_{field}_ms"].alarms <= 3, field
    assert found["latency_mean_ms"].found >= 8


def test_alternating_a_mean_is_judged_by_its_own_processes(record: Record) -> None:
    """The pairs' ratio is of the typical call, which did not change; the mean did, in every process."""
    values = (9.9, 10.0, 10.1, 10.0)
    base = replace(record, process_values={"latency_mean_ms": values})
    head = replace(record, latency_mean_ms=20.0, process_values={"latency_mean_ms": tuple(2 * each for each in values)})
    ratios = (1.0, 1.001, 0.999, 1.0)
    mean, p50 = judge(
        [
            Pair("a", Rule(field), base, head, ratios, processes_ms=([10.0] * 50,))
            for field in ("latency_mean_ms", "latency_p50_ms")
        ],
        ALTERNATING,
    )
    assert (mean.status, p50.status) == ("regression", "pass")
    assert mean.change == pytest.approx(1.0)
