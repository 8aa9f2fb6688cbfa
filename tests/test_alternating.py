"""What pairs of alternating processes decide, by their rounds, and what they leave open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from fixtures.judge.gating import judge_alternating
from fixtures.judge.pairs import Pair, Verdict
from fixtures.judge.questions import ALTERNATING
from fixtures.judge.rules import Rule
from fixtures.plugins.gate import alternated
from fixtures.record.record import Record
from fixtures.stats.estimates import se_of_ratio
from fixtures.stats.percentiles import alternating_ratio
from fixtures.workers.outcome import CaseRuns
from fixtures.workers.places import BASE, HEAD
from tests.test_children import run_of
from tests.test_verdicts import P50, one

DISTURBED_MS = (
    [10.6, 13.1, 13.2, 10.7, 16.0, 10.6, 12.0, 13.9],
    [10.7, 10.6, 12.0, 16.0, 10.7, 10.9, 12.4, 12.1],
)


def of_rounds(record: Record, base_ms: Sequence[float], head_ms: Sequence[float]) -> Verdict:
    """One pair of processes with these rounds, taken A B B A."""
    base, head = (replace(record, latency_p50_ms=float(np.median(each))) for each in (base_ms, head_ms))
    ratio, se = alternating_ratio(base_ms, head_ms), se_of_ratio(base_ms, head_ms)
    return one(Pair("a", P50, base, head, (ratio,), ratio_ses=(se,)), ALTERNATING)


def test_a_pair_is_known_no_better_than_its_own_rounds_tell(record: Record) -> None:
    """Eight rounds a side of equal code beside a busy neighbour: with what pairs usually differ by, -7 % for sure."""
    base, head = DISTURBED_MS
    disturbed = of_rounds(record, base, head)
    assert disturbed.status == "inconclusive"
    logs = np.log(np.divide(head, base)).reshape(-1, 2).mean(axis=1)
    se = np.sqrt((2 * 0.02**2 + ((logs - logs.mean()) ** 2).sum()) / 5 / 4)  # two blocks' worth of knowledge, four seen
    assert disturbed.change is not None
    assert disturbed.high == pytest.approx(np.expm1(np.log1p(disturbed.change) + stats.t.ppf(0.975, 4) * se))
    quiet = of_rounds(record, [10.6, 10.7, 10.6, 10.6] * 2, [11.1, 11.2, 11.1, 11.2] * 2)
    assert quiet.status == "regression"  # what is clear stays clear


def test_what_processes_measured_reaches_the_verdict(record: Record) -> None:
    case = CaseRuns("a")
    for side, rounds_ms in zip((BASE, HEAD), DISTURBED_MS, strict=True):
        of_side = replace(record, latency_p50_ms=float(np.median(rounds_ms)))
        case.add(run_of("a", 0, of_side, [ms / 1e3 for ms in rounds_ms], side))
    contest = case.contest()
    assert contest.ratio_ses == (pytest.approx(se_of_ratio(*DISTURBED_MS)),)
    (verdict,) = judge_alternating({"a": alternated(contest)}, [P50]).verdicts
    expected = of_rounds(record, *DISTURBED_MS)
    assert verdict.status == expected.status == "inconclusive"
    assert (verdict.low, verdict.high) == pytest.approx((expected.low, expected.high))


def test_pairs_that_contradict_what_is_printed_decide_nothing(record: Record) -> None:
    """By pairs 9 % faster, by the medians over all rounds, which stand beside it, slower."""
    base, head = replace(record, latency_p50_ms=11.0), replace(record, latency_p50_ms=11.1)
    verdict = one(Pair("a", P50, base, head, (0.91,) * 8), ALTERNATING)
    assert verdict.status == "inconclusive"
    assert "-9.0 % and +0.9 % point in opposite directions" in verdict.why
    per_s = [replace(r, throughput_p50_per_s=1e3 / r.latency_p50_ms) for r in (base, head)]
    rule = Rule("throughput_p50_per_s", share=0.02)
    assert one(Pair("a", rule, *per_s, (0.91,) * 8), ALTERNATING).status == "inconclusive"


@pytest.mark.parametrize(
    ("ratio", "pairs", "flags", "status"),
    [
        (2.22, 1, ("host_busy",), "inconclusive"),  # equal code, as seen
        (0.42, 2, ("host_busy",), "inconclusive"),  # nor a pass: the base may have waited
        (2.22, 1, ("unstable",), "regression"),
        (2.22, 3, ("host_busy",), "regression"),
        (3.5, 1, ("host_busy",), "regression"),
        (0.99, 1, ("host_busy",), "pass"),
    ],
)
def test_few_pairs_on_a_busy_machine_decide_only_what_waiting_cannot_explain(
    record: Record, ratio: float, pairs: int, flags: tuple[str, ...], status: str
) -> None:
    head = replace(record, latency_p50_ms=record.latency_p50_ms * ratio, flags=flags)
    verdict = one(Pair("a", P50, record, head, (ratio,) * pairs, ratio_ses=(0.005,) * pairs), ALTERNATING)
    assert verdict.status == status
    if status == "inconclusive":
        assert "one side may have waited for a processor throughout; more --processes" in verdict.why
