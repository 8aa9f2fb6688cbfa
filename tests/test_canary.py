"""The fixed work that is timed beside every case."""

from __future__ import annotations

import pytest

from fixtures.devices.cpu import Cpu
from fixtures.measure.canary import Canary, CanaryTimes
from tests.conftest import Run, Saved

TIME = Canary.time


def test_medians_are_over_the_rounds_of_both() -> None:
    before = CanaryTimes((1.0, 2.0), (3.0,))
    after = CanaryTimes((9.0,), (4.0, 8.0))
    assert before.p50_ms(after) == (2.0, 4.0)


def test_only_the_work_is_timed_and_the_first_round_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(1000))
    monkeypatch.setattr("fixtures.measure.canary.clock.perf_counter", lambda: float(next(ticks)))
    times = Canary(Cpu()).time()
    assert times == CanaryTimes((1000.0,) * 11, (1000.0,) * 11)


def test_it_stands_in_every_record(run: Run, saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Canary, "time", TIME)  # no run of the tests times it
    run("-k", "custom", "--model=tiny.py:net", "--batch=1", "--benchmark-json=out.json")
    (benchmark,) = saved().values()
    for name in ("matmul", "copy"):
        assert benchmark["extra_info"][f"canary_{name}_ms"] > 0
