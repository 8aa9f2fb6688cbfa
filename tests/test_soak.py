"""A soak on a fake clock: failures by kind, first against last latency, a planted leak found and a clean model not."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from fixtures.measure.soak import SoakLog, found_by, growth_bytes_per_call, run_soak
from tests.conftest import Run, Saved

MIB = 1 << 20


def soaked(
    call: Callable[[int], Any],
    held: Callable[[int], int] = lambda calls: 0,
    seconds: float = 300.0,
    call_s: float = 0.5,
) -> SoakLog:
    now = [0.0]
    calls = [0]

    def timed(index: int) -> Any:
        now[0] += call_s
        calls[0] += 1
        return call(index)

    return run_soak(
        timed, lambda value: value != "nan", lambda: held(calls[0]), seconds, lambda *_: None, lambda: now[0]
    )


def test_failures_are_counted_by_kind_and_do_not_end_it() -> None:
    def call(index: int) -> str:
        if index % 10 == 3:
            raise ValueError("no")
        if index % 10 == 5:
            raise MemoryError
        return "nan" if index % 10 == 7 else "fine"

    found, *_ = found_by(soaked(call))
    assert (found.soak_calls, found.soak_s) == (600, 300.0)
    assert found.soak_failures == {"ValueError": 60, "not finite": 60, "out of memory": 60}
    assert found.soak_error_rate == 0.3


def test_the_last_minute_stands_beside_the_first() -> None:
    now = [0.0]

    def call(index: int) -> str:
        now[0] += 0.5 if now[0] < 200 else 1.0
        return "fine"

    log = run_soak(call, lambda _: True, lambda: 0, 300.0, lambda *_: None, lambda: now[0])
    found, *notes = found_by(log)
    assert (found.soak_first_p50_ms, found.soak_last_p50_ms) == (500.0, 1000.0)
    assert notes == []


def test_a_short_soak_compares_its_first_and_last_third() -> None:
    _, *notes = found_by(soaked(lambda _: "fine", seconds=30.0))
    assert "soak_first_p50_ms, soak_last_p50_ms: of 10 s each" in map(str, notes)


def test_a_leak_is_found_with_its_rate() -> None:
    noise = random.Random(0)
    found, *_ = found_by(soaked(lambda _: "fine", lambda calls: 500 * MIB + calls * 8192 + noise.randrange(4096)))
    assert found.soak_leaks is True
    assert found.soak_growth_bytes_per_1000_calls == pytest.approx(8192 * 1000, rel=0.01)


@pytest.mark.parametrize(
    "held",
    [
        lambda calls, noise: 500 * MIB + noise.randrange(MIB),
        lambda calls, noise: 500 * MIB + min(calls, 50) * MIB,
        lambda calls, noise: 500 * MIB + (20 * MIB if calls > 300 else 0),
        lambda calls, noise: 500 * MIB + calls * 512,
    ],
    ids=["noise", "settling", "one step", "less than an allocator keeps"],
)
def test_a_clean_model_is_not_accused(held: Callable[[int, random.Random], int]) -> None:
    noise = random.Random(1)
    found, *_ = found_by(soaked(lambda _: "fine", lambda calls: held(calls, noise)))
    assert found.soak_leaks is False


def test_too_few_readings_are_no_verdict() -> None:
    assert growth_bytes_per_call([(1, 5), (2, 6)]) is None
    found, *notes = found_by(soaked(lambda _: "fine", seconds=2.0))
    assert found.soak_leaks is None
    assert any("too short to tell" in str(note) for note in notes)


PLANTED = """
import torch
from torch import nn

class Leaking(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3 * 224 * 224, 4)
        self.kept = []
        self.calls = 0

    def forward(self, pixels):
        self.calls += 1
        if LEAK:
            self.kept.append(torch.ones(LEAK))
        out = self.linear(pixels.flatten(1))
        return out * float("nan") if NAN and self.calls % 50 == 49 and self.calls > 40 else out

def net():
    return Leaking()
"""


def soak_of(run: Run, saved: Saved, project: pytest.Pytester, name: str, leak: int, nan: bool) -> dict[str, Any]:
    text = PLANTED.replace("LEAK", str(leak)).replace("NAN", str(nan))
    project.makepyfile(**{name: text})
    arguments = ("-k", "custom", f"--model={name}.py:net", "--batch=1", "--iters=5", "--warmup=1", "--soak=2")
    run(*arguments, "--benchmark-json=out.json").assert_outcomes(passed=1)
    (benchmark,) = saved().values()
    info: dict[str, Any] = benchmark["extra_info"]
    return info


@pytest.mark.slow
def test_a_real_leak_and_a_real_nan_are_found(run: Run, saved: Saved, project: pytest.Pytester) -> None:
    info = soak_of(run, saved, project, "leaking", 25_000, True)
    assert info["soak_leaks"] is True
    assert info["soak_growth_bytes_per_1000_calls"] == pytest.approx(1e8, rel=0.3)
    assert set(info["soak_failures"]) == {"not finite"}
    assert info["soak_error_rate"] == pytest.approx(1 / 50, rel=0.5)


@pytest.mark.slow
def test_a_real_clean_model_is_not_accused(run: Run, saved: Saved, project: pytest.Pytester) -> None:
    info = soak_of(run, saved, project, "clean", 0, False)
    assert (info["soak_leaks"], info["soak_failures"]) == (False, {})


def test_a_soak_shorter_than_one_call_is_refused(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(clean=PLANTED.replace("LEAK", "0").replace("NAN", "False"))
    result = run("-k", "custom", "--model=clean.py:net", "--batch=8", "--iters=3", "--soak=0.00001")
    result.stdout.fnmatch_lines(["*--soak: 1e-05 s is shorter than one call of net*"])
    result.assert_outcomes(failed=1)
