"""How far runs are apart on a machine, by its own saved runs: what the gate takes instead of what is built in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from fixtures.history.apart import apart
from fixtures.judge.gating import judge_saved
from fixtures.judge.pairs import Pair
from fixtures.judge.questions import SAVED
from fixtures.judge.rules import Rule
from fixtures.judge.verdicts import judge
from fixtures.record.record import Record
from fixtures.record.saved import SavedRun
from fixtures.stats.run_spread import CaseHistory, RunSpread
from tests.conftest import Run, no_traceback
from tests.saved import timed
from tools.worlds import BEYOND

CASE = "benchmarks/test_custom.py::test_forward[net-fp32-b8-224]"
START = datetime(2026, 1, 1, tzinfo=UTC)
MACHINE = {"torch": "2.14.1", "driver": None}


def saved(record: Record, logs: Sequence[float], slow: Sequence[float] = (), hours: float = 8) -> list[SavedRun]:
    """One run after the other, so many hours apart."""
    runs = []
    for index, log in enumerate(logs):
        each = timed(10 * float(np.exp(log)), record)
        if len(slow):
            pace = float(np.exp(slow[index]))
            each = replace(each, canary_matmul_ms=pace, canary_copy_ms=2 * pace)
        taken_at = START + timedelta(hours=hours * index)
        runs.append(SavedRun(Path(f"{index:04}_a.json"), {CASE: each}, {}, MACHINE, taken_at=taken_at))
    return runs


def known(record: Record, runs: Sequence[SavedRun], age: timedelta = timedelta()) -> CaseHistory | None:
    return apart({CASE: record}, MACHINE, runs, age).get(CASE)


def test_runs_are_as_far_apart_as_neighbours_are(record: Record) -> None:
    """By hand: neighbours differ by 0.02 and 0.04 in turn, of which the median is 0.03 or so; a step counts once."""
    logs = np.cumsum([0.0, 0.02, -0.04, 0.02, -0.04, 0.02, -0.04, 0.02, 1.0, 0.02])
    found = known(record, saved(record, logs))
    assert found is not None
    near = np.abs(np.diff(logs))
    far = [abs(a - b) for i, a in enumerate(logs) for b in logs[i + 1 :]]
    expected = 1.4826 / np.sqrt(2) * max(np.median(near), np.median(far))
    assert found == CaseHistory(RunSpread(pytest.approx(expected), 5))


@pytest.mark.parametrize(
    ("count", "hours", "told"), [(8, 8.0, True), (7, 8.0, False), (8, 0.5, False), (30, 0.5, False), (50, 0.5, True)]
)
def test_it_takes_eight_runs_of_two_days(record: Record, count: int, hours: float, told: bool) -> None:
    runs = saved(record, np.arange(count) % 2 / 100, hours=hours)
    assert (known(record, runs) is not None) == told


def test_runs_of_others_say_nothing(record: Record) -> None:
    runs = saved(record, np.arange(10) % 2 / 100)
    assert known(record, runs) is not None
    assert known(replace(record, threads=1), runs) is None
    assert apart({CASE: record}, {**MACHINE, "torch": "2.15.0"}, runs) == {}
    assert apart({"benchmarks/test_custom.py::test_other[a]": record}, MACHINE, runs) == {}
    copies = [replace(run, taken_at=run.taken_at + timedelta(seconds=1)) for run in runs[:4]]
    assert known(record, [*runs[:4], *copies]) is None  # saved twice


def test_a_canary_is_followed_where_runs_are_closer_with_it_taken_out(record: Record) -> None:
    pace = 0.1 * np.sin(np.arange(12))
    noise = 0.01 * np.cos(7 * np.arange(12))
    follows = known(record, saved(record, pace + noise, pace))
    apart_from_it = known(record, saved(record, noise, pace))
    assert follows is not None
    assert apart_from_it is not None
    assert follows.corrected is not None
    assert follows.corrected.sd < 0.03 < follows.raw.sd
    assert apart_from_it.corrected is None
    assert apart_from_it.raw.sd < 0.03


@pytest.mark.parametrize(("share", "followed"), [(0.1, False), (0.3, True)])
def test_what_a_canary_takes_away_by_chance_is_no_reason_to_follow_it(
    record: Record, share: float, followed: bool
) -> None:
    logs = 0.05 * np.sin(5 * np.arange(12))
    found = known(record, saved(record, logs, share * logs))
    assert found is not None
    assert (found.corrected is not None) == followed


def test_an_old_baseline_is_as_far_off_as_runs_of_its_age(record: Record) -> None:
    """The level creeps by a per cent a run."""
    runs = saved(record, np.arange(24) / 100)
    new, old = known(record, runs), known(record, runs, timedelta(days=6))
    assert new is not None
    assert old is not None
    assert old.raw.sd > new.raw.sd > 0.007


def with_history(record: Record, history: CaseHistory, base: float, head: float, pace: float = 1.0) -> Pair:
    def side(ms: float, slow: float) -> Record:
        values = {"latency_p50_ms": (ms,) * 5, "canary_matmul_ms": (slow,) * 5, "canary_copy_ms": (slow,) * 5}
        return replace(timed(ms, record), canary_matmul_ms=slow, canary_copy_ms=slow, process_values=values)

    return Pair(CASE, Rule("latency_p50_ms"), side(base, 1.0), side(head, pace), history=history)


def test_a_steady_machine_finds_less_and_a_restless_one_cries_no_wolf(record: Record) -> None:
    steady, restless = (CaseHistory(RunSpread(sd, 12)) for sd in (0.01, 0.10))
    assert judge([with_history(record, steady, 10.0, 11.5)], SAVED)[0].status == "regression"
    assert judge([with_history(record, restless, 10.0, 13.0)], SAVED)[0].status == "inconclusive"


def test_a_saved_baseline_is_judged_by_the_history_of_its_case(record: Record) -> None:
    (base,) = saved(record, [0.0])
    head, rules = {CASE: timed(20.0, record)}, [Rule("latency_p50_ms")]
    assert judge_saved([base], head, MACHINE, rules).count["regression"] == 1
    restless = judge_saved([base], head, MACHINE, rules, history={CASE: CaseHistory(RunSpread(0.5, 12))})
    assert restless.count["inconclusive"] == 1
    assert "how far runs are apart is known of 1 of 1 cases" in restless.evidence


def test_a_run_that_was_saved_twice_is_one(record: Record) -> None:
    one, other = saved(record, [0.0, 0.001])
    head, rules = {CASE: timed(11.0, record)}, [Rule("latency_p50_ms")]
    (single, copied_, two) = (
        judge_saved(files, head, MACHINE, rules).verdicts[0].finds_from for files in ([one], [one, one], [one, other])
    )
    assert single is not None
    assert copied_ is not None
    assert two is not None
    assert copied_ == pytest.approx(single, rel=0.25)  # its process counts twice, its minute once
    assert two < copied_


def test_memory_is_not_judged_by_how_far_times_are_apart(record: Record) -> None:
    base, head = (replace(record, process_values={"peak_host_bytes": (mb * 1e6,) * 5}) for mb in (700, 800))
    restless = CaseHistory(RunSpread(0.5, 12))
    (verdict,) = judge([Pair(CASE, Rule("peak_host_bytes", share=0.05), base, head, history=restless)], SAVED)
    assert verdict.status == "regression"


def test_history_says_whether_the_canary_is_taken_out(record: Record) -> None:
    follows = CaseHistory(RunSpread(0.1, 12), RunSpread(0.01, 12))
    (taken,) = judge([with_history(record, follows, 10.0, 13.0, 1.3)], SAVED)
    assert (taken.status, taken.change) == ("pass", pytest.approx(0.0))
    assert "the machine was 30 % slower (canary), taken out as in its history" in taken.why
    (left,) = judge([with_history(record, CaseHistory(RunSpread(0.01, 12)), 10.0, 13.0, 1.3)], SAVED)
    assert (left.status, left.change) == ("regression", pytest.approx(0.3))
    assert "canary" not in left.why


def test_a_canary_that_did_not_move_leaves_the_spread_of_the_times_as_they_are(record: Record) -> None:
    """4 % that are not taken out are part of what runs are apart without it."""
    follows = CaseHistory(RunSpread(0.1, 12), RunSpread(0.005, 12))
    (verdict,) = judge([with_history(record, follows, 10.0, 11.5, 1.04)], SAVED)
    assert verdict.status == "inconclusive"
    (moved,) = judge([with_history(record, follows, 10.0, 12.6, 1.06)], SAVED)
    assert (moved.status, moved.change) == ("regression", pytest.approx(12.6 / 10.6 - 1))


RUNS = 200


@pytest.mark.slow
def test_on_a_machine_whose_runs_are_far_apart_history_keeps_the_promise(record: Record) -> None:
    """7 % from run to run, of which nothing built in knows: twelve saved runs do."""
    (world,), random = BEYOND.values(), np.random.default_rng(3)
    alarms = 0
    for _ in range(RUNS):
        pairs = []
        for case in range(6):
            logs = [float(np.median(world.run_of(random, 5))) for _ in range(12)]
            history = known(record, saved(record, logs))
            sides = [
                replace(record, process_values={"latency_p50_ms": tuple(10 * np.exp(world.run_of(random, 5)))})
                for _ in range(2)
            ]
            pairs.append(Pair(str(case), Rule("latency_p50_ms"), *sides, history=history))
        alarms += any(each.status == "regression" for each in judge(pairs, SAVED))
    assert alarms <= binom.ppf(0.999, RUNS, SAVED.alpha)


OWN = ("-k", "custom", "--model=tiny.py:net", "--batch=1", "--iters=3")


def copied(project: pytest.Pytester, count: int, days: int) -> None:
    """Of one saved run so many, a per cent slower each second time, spread over so many days."""
    (file,) = (project.path / "results").glob("*/0001_a.json")
    text = file.read_text()
    for index in range(count):
        content = json.loads(text)
        content["datetime"] = f"2026-01-0{1 + index * days // count}T0{index}:00:00+00:00"
        (benchmark,) = content["benchmarks"]
        benchmark["stats"]["data"] = [each * (1 + index % 2 / 100) for each in benchmark["stats"]["data"]]
        info = benchmark["extra_info"]
        times = [name for name in info if name.startswith("latency_") and name.endswith("_ms") and info[name]]
        info.update({name: info[name] * (1 + index % 2 / 100) for name in times})
        file.with_name(f"{index + 1:04}_a.json").write_text(json.dumps(content))


def test_what_the_storage_holds_says_how_far_runs_are_apart(project: pytest.Pytester, run: Run) -> None:
    run(*OWN, "--benchmark-save=a").assert_outcomes(passed=1)
    copied(project, 8, 2)
    result = run(*OWN, "--benchmark-compare", "--gate=latency_p50_ms:900%")
    no_traceback(result)
    known = "1 before, 1 now; how far runs are apart is known of 1 of 1 cases; finds from *"
    result.stdout.fnmatch_lines([f"gate: 1 pass (saved baseline; processes a case: {known}"])


@pytest.mark.slow
def test_a_run_is_compared_with_the_last_runs(project: pytest.Pytester, run: Run) -> None:
    run(*OWN, "--benchmark-save=a").assert_outcomes(passed=1)
    copied(project, 5, 1)
    gated = ("--gate=latency_p50_ms:900%",)
    result = run(*OWN, "--benchmark-compare=history", *gated)
    no_traceback(result)
    result.stdout.fnmatch_lines(
        [
            "*--benchmark-compare=history: the last 5 saved runs are of one day: compared with the last one, as saved*",
            "gate: 1 pass (saved baseline; processes a case: 1 before, 1 now; *",
        ]
    )
    for file in (project.path / "results").glob("*/000[2-5]_a.json"):
        file.unlink()
    copied(project, 5, 5)
    result = run(*OWN, "--benchmark-compare=history", *gated)
    result.stdout.fnmatch_lines(["gate: 1 pass (saved baseline; processes a case: 5 before, 1 now; *"])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("history:6", "--benchmark-compare=history:6: there are 1 saved runs in *"),
        ("history:4", "--benchmark-compare=history:4: history:K takes a number of runs from 5, got '4'"),
        ("history:many", "--benchmark-compare=history:many: history:K takes a number of runs from 5, got 'many'"),
    ],
)
def test_a_history_that_is_not_there_is_told(run: Run, asked: str, said: str) -> None:
    run(*OWN, "--benchmark-save=a").assert_outcomes(passed=1)
    result = run(*OWN, f"--benchmark-compare={asked}", "--gate=latency_p50_ms:900%")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{said}*"])
