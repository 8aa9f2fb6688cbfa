"""What a fresh process would find: the interval by hand, and how often it holds on the committed trials."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import pytest

from fixtures.record.saved import read_saved
from fixtures.report.contents import contents
from fixtures.report.sides import compared
from fixtures.stats.fresh_process import ASSUMED, Assumed, p50_interval_ms, prediction
from tests.conftest import ROOT
from tests.saved import timed
from tools import coverage
from tools.gate_power import read


def test_one_process_is_off_by_two_processes_and_two_runs() -> None:
    half = 2.4469 * math.sqrt(2 * 0.035**2 + 0.025**2)  # t of 6 degrees of freedom
    assert p50_interval_ms(timed(100.0)) == pytest.approx((100 * math.exp(-half), 100 * math.exp(half)), rel=1e-4)


def test_more_processes_say_better_how_far_the_next_one_may_be_and_not_that_it_is_not() -> None:
    assumed = Assumed(0.1, run_sd=0.0, processes=2)
    variance = (2 * 0.1**2 + 2 * 0.05**2) / 4  # two are 5 % off the middle one
    half = 2.7764 * math.sqrt(variance * (1 + 1 / 3))  # t of 2 + 3 - 1 degrees of freedom
    values = [math.exp(-0.05), 1.0, math.exp(0.05)]
    assert prediction(values, (), assumed) == pytest.approx((math.exp(-half), math.exp(half)), rel=1e-4)
    low, high = prediction([1.0] * 1000)
    assert high / low > 1.1  # never as narrow as what is known of the mean


@pytest.mark.parametrize(("flags", "sd"), [((), 0.035), (("drift",), 0.04), (("host_busy", "drift"), 0.06)])
def test_a_flag_widens_by_what_flagged_processes_were_off(flags: tuple[str, ...], sd: float) -> None:
    assert ASSUMED.process_sd(flags) == sd


def test_a_flag_that_no_trial_had_counts_as_the_one_that_widens_most() -> None:
    assert ASSUMED.process_sd(("cpu_throttled",)) == ASSUMED.process_sd(("unstable",)) == 0.08


@pytest.mark.slow
def test_what_is_assumed_is_what_one_half_of_the_trials_chooses_and_the_other_is_judged_by() -> None:
    """`python -m tools.coverage` again after either changes."""
    saved = json.loads(coverage.RESULT.read_text())
    assert saved["assumed"] == asdict(ASSUMED)
    assert saved["coverage"] == [asdict(each) for each in coverage.judged(read())]


def test_a_fresh_process_is_within_as_often_as_it_says() -> None:
    """93 to 97 of 100, of the same run and of the next one together; neither is far off alone."""
    found = [coverage.Coverage(**each) for each in json.loads(coverage.RESULT.read_text())["coverage"]]
    for known in coverage.KNOWN:
        both = [each for each in found if (each.known, each.flags) == (known, "any")]
        assert 0.93 <= sum(each.share for each in both) / len(both) <= 0.97
        assert all(0.92 <= each.share <= 0.97 for each in both)
        assert all(each.low <= 0.95 <= each.high or abs(each.hits / each.of - 0.95) < 0.035 for each in both)


def test_an_interval_that_is_too_sure_is_seen() -> None:
    """What was published until now: the interval of a mean, from 3.5 % and three processes."""
    held = coverage.held_out(read(), 1, 4)[coverage.SAME_RUN]
    too_sure = replace(ASSUMED, sd=0.01, flagged_sd={}, run_sd=0.0, processes=20)
    assert coverage.hits(held, too_sure) / len(held) < 0.85


def test_equal_code_in_one_flagged_process_a_side_is_no_regression() -> None:
    """Two runs of it have +40.3 % of one case, both times flagged."""
    names = ("tests/contracts/saved/0001_cpu-amd-epyc_torch2.14.1_20261120", "tests/evidence/speedup-yolov8n_20261120")
    runs = [read_saved(ROOT / f"{name}.json") for name in names]
    verdicts = compared(*runs).verdicts
    assert {verdict.status for verdict in verdicts} == {"inconclusive", "pass"}
    worst = max(verdicts, key=lambda verdict: verdict.change or 0.0)
    assert (worst.status, worst.change) == ("inconclusive", pytest.approx(0.403, abs=0.001))
    assert len(contents(runs).machines) == 1


@pytest.mark.parametrize("flags", [("host_busy",), ("drift",), ("unstable", "drift")])
def test_an_obvious_regression_is_one_though_flagged(flags: tuple[str, ...]) -> None:
    run = read_saved(ROOT / "tests" / "evidence" / "speedup-yolov8n_20261120.json")
    (nodeid, record) = next(iter(run.records.items()))
    base, head = (
        replace(run, records={nodeid: timed(ms, record, flags=flags)}, stats={nodeid: {}}) for ms in (40.0, 60.0)
    )
    assert [verdict.status for verdict in compared(base, head).verdicts] == ["regression"]
