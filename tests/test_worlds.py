"""The gate in worlds whose truth is known: a saved baseline keeps its promise however alike processes of a run are."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scipy.stats import binom

from fixtures.judge.questions import SAVED
from fixtures.record.record import Record
from tools.worlds import BEYOND, WORLDS, alarms, finds

RUNS = 200
# So few or so many are what one in a thousand such series has where the promise is just kept.
MOST = int(binom.ppf(0.999, RUNS, SAVED.alpha))
LEAST = int(binom.ppf(0.001, RUNS, 0.9))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if "canary" in name else []) for name in WORLDS]
)
def test_a_saved_baseline_in_every_world(record: Record, name: str) -> None:
    """At most one run of six cases in twenty alarms, and +25 % is found nine times in ten."""
    assert alarms(record, WORLDS[name], RUNS) <= MOST
    assert finds(record, WORLDS[name], RUNS, 1.25) >= LEAST


@pytest.mark.slow
@pytest.mark.parametrize("name", WORLDS)
def test_so_it_is_of_a_hundred_cases(record: Record, name: str) -> None:
    assert alarms(record, WORLDS[name], 40, cases=100) <= binom.ppf(0.999, 40, SAVED.alpha)
    assert finds(record, WORLDS[name], 40, 1.5, cases=100) >= binom.ppf(0.001, 40, 0.9)


def test_these_runs_would_tell(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an error of the run itself the same runs alarm."""
    monkeypatch.setattr("tools.worlds.SAVED", replace(SAVED, runs=replace(SAVED.runs, sd=0.0)))
    assert alarms(record, WORLDS["runs differ, sd 3 %"], RUNS) > MOST


def test_runs_that_differ_more_than_is_assumed_alarm_more(record: Record) -> None:
    """7 % from run to run is what history has to show: nothing built in holds there and finds +25 %."""
    (world,) = BEYOND.values()
    assert alarms(record, world, RUNS) > MOST
