"""How many rounds a case gets."""

from __future__ import annotations

import pytest

from fixtures.measure.rounds import Rounds, plan_rounds

CPU = {"default_warmup": None, "default_iters": 300, "max_seconds": 6.0}
GPU = {"default_warmup": 50, "default_iters": 300, "max_seconds": None}


def test_gpu_default_is_50_and_300_whatever_a_round_takes() -> None:
    assert plan_rounds(round_s=10.0, warmup=None, iters=None, **GPU) == Rounds(50, 300)


def test_cpu_fills_the_budget_warm_up_included() -> None:
    # A tenth of 6 s is 6 warm-up rounds of 0.1 s; 5.4 s remain.
    assert plan_rounds(round_s=0.1, warmup=None, iters=None, **CPU) == Rounds(6, 54)


def test_cpu_takes_no_more_than_300_of_a_quick_call() -> None:
    assert plan_rounds(round_s=1e-6, warmup=None, iters=None, **CPU) == Rounds(10, 300)


def test_cpu_takes_at_least_three_of_a_slow_call() -> None:
    assert plan_rounds(round_s=11.0, warmup=None, iters=None, **CPU) == Rounds(1, 3)


@pytest.mark.parametrize("default", [CPU, GPU])
def test_given_numbers_are_exact(default: dict[str, float | None]) -> None:
    assert plan_rounds(round_s=11.0, warmup=0, iters=1, **default) == Rounds(0, 1)
