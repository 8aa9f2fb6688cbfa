"""Verdicts from made-up processes, against scipy's own tests and against what the issue demands of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from fixtures.judge.gating import Judgement
from fixtures.judge.pairs import Pair, Verdict
from fixtures.judge.questions import ALTERNATING, SAVED, Method
from fixtures.judge.rules import Rule, parse_rule
from fixtures.judge.verdicts import judge
from fixtures.record.record import Record
from fixtures.stats.estimates import holm

NO_PRIOR = Method("test", 0.02, 0.0, 0, 0.05, "more")
P50 = Rule("latency_p50_ms", share=0.02)


def of_processes(record: Record, **values: Sequence[float]) -> Record:
    """A pooled record of processes that found these numbers."""
    middles = {name: float(np.median(each)) for name, each in values.items()}
    return replace(record, **middles, process_values={name: tuple(each) for name, each in values.items()})


PACE = (1.0, 1.06, 0.95, 1.02, 0.98)  # of the machine, from process to process


def paced(record: Record, machine: float, model: float, slope: float, pace: tuple[float, ...] = PACE) -> Record:
    """Five processes on a machine so many times slower: the canary follows it, the case with a power of it."""
    slowness = [machine * one for one in pace]
    return of_processes(
        record,
        latency_p50_ms=[10 * model * each**slope for each in slowness],
        canary_matmul_ms=slowness,
        canary_copy_ms=[2 * each for each in slowness],
    )


def one(pair: Pair, method: Method = SAVED) -> Verdict:
    (verdict,) = judge([pair], method)
    return verdict


def test_p_and_interval_are_those_of_a_t_test_on_logarithms(record: Record) -> None:
    old, new = [10.0, 10.2, 9.9, 10.1], [10.4, 10.6, 10.3, 10.5]
    verdict = one(
        Pair("a", P50, of_processes(record, latency_p50_ms=old), of_processes(record, latency_p50_ms=new)), NO_PRIOR
    )
    known = stats.ttest_ind(np.log(new), np.log(old), alternative="greater")
    interval = stats.ttest_ind(np.log(new), np.log(old)).confidence_interval(0.95)
    assert verdict.p == pytest.approx(known.pvalue)
    assert verdict.low == pytest.approx(np.expm1(interval.low))
    assert verdict.high == pytest.approx(np.expm1(interval.high))
    assert verdict.change == pytest.approx(np.exp(np.mean(np.log(new)) - np.mean(np.log(old))) - 1)


def test_alternating_pairs_are_judged_by_a_trimmed_one_sample_t_test(record: Record) -> None:
    ratios = np.array([1.03, 1.028, 1.031, 1.027, 1.5, 0.9, 1.029, 1.032, 1.03, 1.026])
    verdict = one(Pair("a", P50, record, record, tuple(ratios)), replace(NO_PRIOR, margin=0.02))
    logs = np.sort(np.log(ratios))
    kept = logs[2:-2]
    winsorized = np.clip(logs, kept[0], kept[-1])
    se = np.sqrt(((winsorized - winsorized.mean()) ** 2).sum() / (len(kept) * (len(kept) - 1)))
    assert verdict.change == pytest.approx(np.expm1(kept.mean()))
    assert verdict.p == pytest.approx(stats.t.sf(kept.mean() / se, len(kept) - 1))
    assert verdict.status == "regression"


@pytest.mark.parametrize(
    ("ratios", "status"),
    [
        ([1.001, 0.999, 1.002, 0.998, 1.0, 1.001, 0.999, 1.0], "pass"),
        ([1.03, 1.031, 1.029, 1.03, 1.032, 1.028, 1.03, 1.03], "regression"),
        ([0.95, 0.951, 0.949, 0.95, 0.952, 0.948, 0.95, 0.95], "improved"),
        ([1.06, 0.95, 1.05, 0.96, 1.04, 0.97, 1.05, 0.95], "inconclusive"),
        ([1.01, 1.011, 1.009, 1.01, 1.012, 1.008, 1.01, 1.01], "pass"),  # certain, but within the margin
    ],
)
def test_status_follows_from_margin_and_certainty(record: Record, ratios: list[float], status: str) -> None:
    assert one(Pair("a", P50, record, record, tuple(ratios)), ALTERNATING).status == status


@pytest.mark.parametrize("method", [SAVED, ALTERNATING])
def test_twice_as_slow_in_one_process_a_side_is_a_regression_among_a_hundred(record: Record, method: Method) -> None:
    slow = replace(record, latency_p50_ms=20.0)
    pairs = [Pair(f"case {i}", P50, record, record, (1.0,) if method is ALTERNATING else ()) for i in range(99)]
    slower = Pair("slow", P50, record, slow, (2.0,) if method is ALTERNATING else ())
    verdicts = judge([*pairs, slower], method)
    assert verdicts[-1].status == "regression"
    assert not [v for v in verdicts[:-1] if v.status == "regression"]


def test_an_inconclusive_verdict_says_what_would_settle_it(record: Record) -> None:
    verdict = one(Pair("a", P50, record, replace(record, latency_p50_ms=10.3)))
    assert verdict.status == "inconclusive"
    assert "more --processes on both sides, or --against would tell" in verdict.why


def test_more_throughput_is_better(record: Record) -> None:
    rule = parse_rule("throughput_p50_per_s:5%")
    ratios = (2.0,) * 8  # the head's calls take twice as long
    slower = replace(record, throughput_p50_per_s=400.0, latency_p50_ms=20.0)
    verdict = one(Pair("a", rule, record, slower, ratios), ALTERNATING)
    assert verdict.status == "regression"
    assert verdict.change == pytest.approx(-0.5)
    assert one(Pair("a", rule, slower, record, (0.5,) * 8), ALTERNATING).status == "improved"
    assert one(Pair("a", rule, record, slower)).status == "regression"


@pytest.mark.parametrize(
    ("rule", "head", "status"),
    [
        ("params", 25_557_032, "pass"),
        ("params", 25_557_033, "regression"),
        ("params:1%", 25_600_000, "pass"),
        ("params:1%", 26_000_000, "regression"),
        ("params:100", 25_557_132, "pass"),
        ("params:100", 25_557_133, "regression"),
        ("params", 25_000_000, "improved"),
    ],
)
def test_what_does_not_vary_is_compared_exactly(record: Record, rule: str, head: int, status: str) -> None:
    assert one(Pair("a", parse_rule(rule), record, replace(record, params=head))).status == status


@pytest.mark.parametrize(
    ("rule", "status"),
    [
        ("latency_p50_ms<=10", "pass"),
        ("latency_p50_ms<=9.99", "regression"),
        ("throughput_p50_per_s>=800", "pass"),
        ("throughput_p50_per_s>=801", "regression"),
    ],
)
def test_ceilings_and_floors_need_no_baseline(record: Record, rule: str, status: str) -> None:
    assert one(Pair("a", parse_rule(rule), None, record)).status == status


def test_new_missing_and_invalid_cases_say_why(record: Record) -> None:
    verdicts = judge(
        [
            Pair("new", P50, None, record),
            Pair("gone", P50, record, None),
            Pair("crashed", P50, record, None, why_missing="crashed: SIGSEGV"),
            Pair("other", P50, record, record, why_invalid=("torch 2.13.0 -> 2.14.1",)),
            Pair("withheld", parse_rule("latency_p99_ms:5%"), record, replace(record, notes=("latency_p99_ms: few",))),
        ],
        SAVED,
    )
    assert [v.status for v in verdicts] == ["new", "missing", "missing", "invalid", "inconclusive"]
    assert [v.why for v in verdicts[1:]] == [
        "measured for the baseline, not now",
        "crashed: SIGSEGV",
        "torch 2.13.0 -> 2.14.1; --allow-different=torch compares them all the same",
        "latency_p99_ms: few",
    ]


def test_an_absolute_change_is_in_the_fields_unit(record: Record) -> None:
    rule = parse_rule("latency_p50_ms:2")
    assert one(Pair("a", rule, record, record, (1.1,) * 8), ALTERNATING).status == "pass"
    assert one(Pair("a", rule, record, record, (1.3,) * 8), ALTERNATING).status == "regression"


def test_holm_is_holm() -> None:
    """Worked by hand: sorted .005 .01 .03 .04 times 4 3 2 1, each at least as large as the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@pytest.mark.slow
@pytest.mark.parametrize("processes", [5, 8])
def test_false_alarms_in_identical_processes_stay_below_the_promise(record: Record, processes: int) -> None:
    """1,000 runs of 20 cases, no true difference, process noise as the prior says: at most alpha of them alarm."""
    random = np.random.default_rng(7)
    alarms = 0
    for _ in range(1000):
        ratios = np.exp(random.normal(0, ALTERNATING.prior_sd, (20, processes)))
        verdicts = judge(
            [Pair(str(i), Rule("latency_p50_ms"), record, record, tuple(r)) for i, r in enumerate(ratios)], ALTERNATING
        )
        alarms += any(v.status == "regression" for v in verdicts)
    assert alarms <= 10


@pytest.mark.parametrize(
    ("statuses", "code", "strict"),
    [
        (["pass", "improved"], 0, 0),
        (["pass", "inconclusive"], 0, 1),
        (["pass", "new"], 0, 0),
        (["pass", "invalid"], 6, 6),
        (["pass", "missing"], 6, 6),
        (["new"], 6, 6),
        ([], 6, 6),
        (["regression", "missing"], 1, 1),
    ],
)
def test_exit_codes(statuses: list[str], code: int, strict: int) -> None:
    judgement = Judgement(SAVED, tuple(Verdict("a", P50, status) for status in statuses), "")  # type: ignore[arg-type]
    assert judgement.exit_code(strict=False) == code
    assert judgement.exit_code(strict=True) == strict


def test_the_methods_promise_what_the_readme_says() -> None:
    """One false alarm in twenty and in a hundred suite runs, at limits of 5 and 2 %."""
    assert (SAVED.alpha, SAVED.margin) == (0.05, 0.05)
    assert (ALTERNATING.alpha, ALTERNATING.margin) == (0.01, 0.02)


def test_a_regression_is_certain_and_its_best_estimate_beyond_the_limit(record: Record) -> None:
    """In the words of the README, and with the interval's lower end; certain but within the limit it passes."""
    rule = Rule("latency_p50_ms", share=0.02)
    (slower,) = judge([Pair("a", rule, record, record, (1.03, 1.031, 1.029, 1.03) * 2)], ALTERNATING)
    assert slower.low is not None
    assert slower.why.startswith(
        f"limit 2 %: certainly slower, at least {slower.low * 100:.1f} %, best estimate beyond it"
    )
    assert 0 < slower.low < 0.03
    (faster,) = judge([Pair("a", rule, record, record, (0.9, 0.901, 0.899, 0.9) * 2)], ALTERNATING)
    assert "certainly faster, at least 9." in faster.why
    (more,) = judge(
        [Pair("a", parse_rule("throughput_p50_per_s:2%"), record, record, (1.1, 1.101, 1.099, 1.1))], ALTERNATING
    )
    assert "certainly slower, at least " in more.why


def test_no_regression_whose_interval_holds_no_change(record: Record) -> None:
    """One-sided p of 0.03: below alpha, and the interval that is printed beside reaches below zero."""
    rule, old = Rule("latency_p50_ms", share=0.0), [10.0, 10.2, 9.9, 10.1]
    for step in range(40):
        head = of_processes(record, latency_p50_ms=[value * (1 + step / 1000) for value in old])
        verdict = one(Pair("a", rule, of_processes(record, latency_p50_ms=old), head), NO_PRIOR)
        assert (verdict.status == "regression") == (verdict.low is not None and verdict.low > 0)


def test_base_head_and_change_reconcile_or_what_lies_between_is_said(record: Record) -> None:
    """The printed numbers are of all rounds, the change is that of processes, pairs, or without the machine's part."""
    odd = of_processes(record, latency_p50_ms=[10.0, 10.0, 10.0, 10.0, 15.0])
    head = replace(odd, latency_p50_ms=12.0)
    (verdict,) = judge([Pair("a", P50, record, head)], SAVED)
    assert "; +20.0 % over all rounds, change by processes" in verdict.why
    (pairs,) = judge([Pair("a", P50, record, head, (1.1,) * 4)], ALTERNATING)
    assert "; +20.0 % over all rounds, change by pairs" in pairs.why
    both = replace(paced(record, 1.06, 1.2, 1.0, (1.0,) * 5), latency_p50_ms=14.0)
    (each,) = judge([Pair("a", P50, paced(record, 1.0, 1.0, 1.0, (1.0,) * 5), both)], SAVED)
    said = "change by processes; the machine was 6 % slower (canary), +20.0 % with that taken out"
    assert f"; +40.0 % over all rounds, {said}" in each.why
    assert each.change == pytest.approx(0.272)
    (plain,) = judge([Pair("a", P50, record, replace(record, latency_p50_ms=10.1))], SAVED)
    assert "as measured" not in plain.why
