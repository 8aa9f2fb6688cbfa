"""A saved baseline is one minute of a machine: what runs differ by, and what the canary says of it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fixtures.judge.pairs import Pair
from fixtures.judge.questions import SAVED
from fixtures.judge.rules import Rule, parse_rule
from fixtures.judge.verdicts import judge
from fixtures.record.record import Record
from tests.test_verdicts import of_processes, one, paced


@pytest.mark.parametrize(
    ("machine", "model", "slope", "status"),
    [
        (1.3, 1.0, 1.0, "inconclusive"),  # the case slowed with the canary: perhaps it is the machine
        (1.3, 1.0, 1.3, "inconclusive"),
        (1.0, 1.3, 1.0, "regression"),
        (1.1, 1.5, 1.0, "regression"),  # +65 %, and +50 % with the canary taken out
        (1.3, 1.0, 0.0, "pass"),  # the canary slowed alone: -23 % with it taken out
        (0.7, 1.0, 0.0, "inconclusive"),  # it was faster alone: +43 % with it taken out
        (0.93, 1.0, 0.0, "inconclusive"),  # +7.5 % with it taken out, by which nothing is certain
    ],
)
def test_a_verdict_holds_with_the_canary_taken_out_and_without(
    record: Record, machine: float, model: float, slope: float, status: str
) -> None:
    rule = Rule("latency_p50_ms", share=0.05)
    verdict = one(Pair("a", rule, paced(record, 1.0, 1.0, slope), paced(record, machine, model, slope)))
    assert verdict.status == status
    assert verdict.change == pytest.approx(model * machine**slope - 1)
    shown = f"{model * machine ** (slope - 1) * 100 - 100:+.1f} % with that taken out"
    assert (shown in verdict.why) == (machine != 1.0)


def test_what_can_be_found_is_what_is_found_both_ways(record: Record) -> None:
    """With a canary that differs from process to process taken out, less is certain."""
    rule, restless = Rule("latency_p50_ms", share=0.05), (1.0, 1.2, 0.85, 1.1, 0.9)
    base, head = paced(record, 1.0, 1.0, 0.0, restless), paced(record, 1.2, 1.0, 0.0, restless)
    with_it, without = one(Pair("a", rule, base, head)), one(Pair("a", rule, base, base))
    assert with_it.finds_from is not None
    assert without.finds_from is not None
    assert with_it.finds_from > 1.3 * without.finds_from


def test_a_canary_that_hardly_moved_tells_nothing(record: Record) -> None:
    rule, steady = Rule("latency_p50_ms", share=0.05), (1.0,) * 5
    base = paced(record, 1.0, 1.0, 1.0, steady)
    assert "canary" not in one(Pair("a", rule, base, paced(record, 1.049, 1.0, 1.0, steady))).why
    assert "the machine was 5 % slower (canary)" in one(Pair("a", rule, base, paced(record, 1.051, 1, 1, steady))).why


def half_of(process: float, run: float, level: float = 0.975) -> float:
    dof = (process + run) ** 2 / (process**2 / 7 + run**2 / 10)
    return float(stats.t.ppf(level, dof) * np.sqrt(process + run))


def test_runs_differ_however_alike_their_processes_are(record: Record) -> None:
    """Five processes a side that agree to the last digit, +10 %: once it was certain."""
    base, head = (of_processes(record, latency_p50_ms=[ms] * 5) for ms in (10.0, 11.0))
    verdict = one(Pair("a", Rule("latency_p50_ms"), base, head))
    assert verdict.status == "inconclusive"
    assert verdict.low is not None
    # by hand: processes are taken to be 3.5 % apart for three, three of five a side are kept; runs 4 % for ten
    process, run = 3 * 0.035**2 / 7 * 2 / 3, 2 * 0.04**2
    assert verdict.low == pytest.approx(1.1 * np.exp(-half_of(process, run)) - 1)
    # of a single case the interval asks for more than alpha does
    assert verdict.finds_from == pytest.approx(np.expm1(half_of(process, run) + half_of(process, run, 0.9)))
    ten = judge([Pair("a", Rule("latency_p50_ms"), base, head)] * 10, SAVED)[0]
    assert ten.finds_from == pytest.approx(np.expm1(half_of(process, run, 1 - 0.05 / 10) + half_of(process, run, 0.9)))
    assert one(Pair("a", Rule("latency_p50_ms"), base, head, base_runs=10)).low == pytest.approx(
        1.1 * np.exp(-half_of(process, 1.1 * 0.04**2)) - 1
    )


def test_memory_of_two_runs_is_not_a_machines_speed(record: Record) -> None:
    base, head = (of_processes(record, peak_host_bytes=[mb * 1e6] * 5) for mb in (700, 800))
    assert one(Pair("a", parse_rule("peak_host_bytes:5%"), base, head)).status == "regression"


def test_memory_is_not_corrected_by_the_canary(record: Record) -> None:
    busy = {"canary_matmul_ms": [2.0] * 5, "canary_copy_ms": [4.0] * 5}
    quiet = {"canary_matmul_ms": [1.0] * 5, "canary_copy_ms": [2.0] * 5}
    base = of_processes(record, peak_host_bytes=[7e8] * 5, **quiet)
    head = of_processes(record, peak_host_bytes=[7e8] * 5, **busy)
    assert one(Pair("a", parse_rule("peak_host_bytes:10%"), base, head)).change == pytest.approx(0.0)
