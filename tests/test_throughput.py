"""The search for the best batch on planted curves, its memory ceiling, and whole runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fixtures.devices.cpu import Cpu
from fixtures.inputs.batches import Call
from fixtures.measure import throughput
from fixtures.measure.search import LARGEST_BATCH, TooLargeError, search_best_batch
from fixtures.measure.throughput import Prober
from fixtures.measure.window import Repeated, Window
from fixtures.progress import Progress
from tests.conftest import Run, Saved


def test_it_doubles_until_growth_stays_below_three_percent_and_then_refines() -> None:
    asked: list[int] = []

    def per_s(batch: int) -> float:
        asked.append(batch)
        return min(batch, 11) * 100.0 - batch

    curve = search_best_batch(per_s)
    assert asked[:7] == [1, 2, 4, 8, 16, 32, 64]
    assert curve.best == (12, 1088.0)
    assert [batch for batch, _ in curve.points] == sorted(set(asked))
    assert curve.stopped == "batches 32 and 64 gain less than 3 %"


def test_a_lucky_reading_does_not_win() -> None:
    """Batch 2 once seems twice as quick as it is; batch 4 is the best of those measured again."""
    lucky = iter([40.0])

    def per_s(batch: int) -> float:
        return next(lucky, 20.0) if batch == 2 else {1: 10.0, 4: 30.0}.get(batch, 25.0)

    curve = search_best_batch(per_s)
    assert curve.best == (4, 30.0)
    assert dict(curve.points)[2] == 20.0


def test_one_batch_that_does_not_pay_does_not_end_it() -> None:
    curve = search_best_batch(lambda batch: {1: 20.0, 2: 18.0, 4: 25.0, 8: 30.0}.get(batch, 10.0))
    assert curve.best == (8, 30.0)


@pytest.mark.parametrize("fits", [1, 5, 6, 7, 8, 100])
def test_memory_that_runs_out_ends_the_search_and_not_the_run(fits: int) -> None:
    def per_s(batch: int) -> float:
        if batch > fits:
            raise TooLargeError(f"batch {batch}: out of memory")
        return float(batch)

    curve = search_best_batch(per_s)
    assert curve.best[0] <= fits
    assert curve.best[0] >= fits * 0.8
    assert "out of memory" in curve.stopped


def test_not_even_one_sample_fits() -> None:
    def per_s(batch: int) -> float:
        raise TooLargeError("batch 1: out of memory")

    with pytest.raises(TooLargeError, match="batch 1"):
        search_best_batch(per_s)


def test_a_batch_that_fitted_before_keeps_its_reading() -> None:
    asked: list[int] = []

    def per_s(batch: int) -> float:
        asked.append(batch)
        if batch > 4 or asked.count(batch) > 1:
            raise TooLargeError(f"batch {batch}: out of memory")
        return float(batch)

    assert search_best_batch(per_s).best == (4, 4.0)


def test_of_several_lucky_readings_none_wins() -> None:
    """All truly the same but batch 6, and every first reading of the others is higher than it."""
    asked: list[int] = []

    def per_s(batch: int) -> float:
        asked.append(batch)
        lucky = {2: 107.0, 4: 109.0, 8: 106.0, 3: 105.0, 5: 104.5}.get(batch, 50.0)
        return 104.0 if batch == 6 else lucky if asked.count(batch) == 1 else 100.0

    assert search_best_batch(per_s).best == (6, 104.0)


def test_it_ends_at_the_largest_batch() -> None:
    assert search_best_batch(float).best == (LARGEST_BATCH, float(LARGEST_BATCH))
    assert search_best_batch(float).stopped == f"{LARGEST_BATCH} is the largest batch allowed"


class Taking:
    def __init__(self, batch: int) -> None:
        self.batch = batch

    def take(self, index: int) -> Call:
        return Call((self.batch,), {})


def prober(function: Callable[[int], Any], device: Cpu | None = None) -> Prober:
    return Prober(function, Taking, device or Cpu(), Progress(None))  # type: ignore[arg-type]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr("fixtures.measure.throughput.clock.perf_counter", lambda: now[0])
    return now


def test_throughput_is_of_the_mean_call_without_the_first(clock: list[float]) -> None:
    took = iter([9.0, 0.5, 0.25, 0.5, 0.5])

    def function(batch: int) -> None:
        clock[0] += next(took)

    assert prober(function)(4) == pytest.approx(4 * 3 / (0.5 + 0.25 + 0.5))


def test_few_calls_are_enough_where_one_takes_very_long(clock: list[float]) -> None:
    took = iter([20.0, 12.0])

    def function(batch: int) -> None:
        clock[0] += next(took)

    assert prober(function)(3) == 0.25


def test_out_of_memory_gives_the_memory_back_and_says_how_much(clock: list[float]) -> None:
    def function(batch: int) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1073741824 bytes.")

    with pytest.raises(TooLargeError, match=r"batch 2: out of memory on the host, 1\.0 GiB were asked for"):
        prober(function)(2)


def test_other_errors_are_not_taken_for_memory(clock: list[float]) -> None:
    def function(batch: int) -> None:
        raise ValueError("wrong shape")

    with pytest.raises(ValueError, match="wrong shape"):
        prober(function)(2)


def test_the_ceiling_stops_before_the_kernel_does(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    held = {"peak": 1000}
    monkeypatch.setattr(throughput, "host_resident_bytes", lambda: 1000)
    monkeypatch.setattr(throughput, "peak_bytes_of", lambda: held["peak"])
    monkeypatch.setattr(throughput.host, "memory_ceiling_bytes", lambda: 2000)

    def function(batch: int) -> None:
        clock[0] += 1.0
        held["peak"] = 1000 + 100 * batch

    probe = prober(function)
    for batch in (1, 2, 4, 8):
        probe(batch)
    with pytest.raises(TooLargeError, match=r"batch 16 would take 2\.5 KiB of memory, 2\.0 KiB is the ceiling"):
        probe(16)
    probe(10)


def test_a_window_holds_whole_calls_until_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("fixtures.clock.perf_counter", lambda: now[0])
    used: list[int] = []

    def call(arguments: Call) -> None:
        used.append(arguments.args[0])
        now[0] += 0.4

    repeated = Repeated.of(call, lambda index: Call((index,), {}), Cpu(), Progress(None))
    assert repeated.run(4.1) == Window(11, pytest.approx(4.4))
    assert used == [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2]


FILE = "benchmarks/test_throughput.py"


def test_it_runs_only_when_asked_for(run: Run, project: pytest.Pytester) -> None:
    model = ("--model=tiny.py:net", "--batch=1", "-k", "custom or net", "--collect-only", "-q")
    run(*model).stdout.no_fnmatch_line("*test_throughput*")
    run(*model, "--throughput").stdout.fnmatch_lines(["*test_throughput.py::test_window[[]net-fp32-b1-224]"])
    named = project.runpytest_inprocess(FILE, "--model=tiny.py:net", "-k", "net", "--batch=1", "--collect-only", "-q")
    named.stdout.fnmatch_lines(["*test_best_batch[[]net-fp32-224]"])


def test_a_curve_is_printed_and_saved(
    project: pytest.Pytester, saved: Saved, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.setattr("fixtures.measure.throughput._PROBE_S", 0.0)
    monkeypatch.setattr("fixtures.measure.search.LARGEST_BATCH", 4)
    monkeypatch.setattr("fixtures.measure.search.LEAST_GROWTH", -1.0)
    arguments = ("-k", "best_batch and net", "--model=tiny.py:net", "--throughput", "--benchmark-json=out.json")
    result = run(*arguments, "--price-per-hour=3.6:EUR")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["throughput by batch: net fp32; best batch *", "*best", "the search ended: 4 is the largest batch allowed"]
    )
    info = saved()["test_best_batch[net-fp32-224]"]["extra_info"]
    curve = dict(map(tuple, info["throughput_curve"]))
    assert {1, 2, 4} <= set(curve)
    assert info["batch"] == info["best_batch"]
    assert info["best_throughput_per_s"] == curve[info["best_batch"]] == max(curve.values())
    assert info["best_cost_per_1000"] == pytest.approx(3.6 / 3600 * 1000 / info["best_throughput_per_s"])
    assert info["cost_per_1000"] == pytest.approx(3.6 / 3600 * 1000 / info["throughput_mean_per_s"])
    assert (info["currency"], info["cost_per_day"]) == ("EUR", pytest.approx(86.4))


def test_a_window_is_counted_in_samples(saved: Saved, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    monkeypatch.setattr(Repeated, "run", lambda self, seconds: Window(15, seconds + 0.5))
    arguments = (
        "-k",
        "window and net",
        "--model=tiny.py:net",
        "--throughput",
        "--batch=2",
        "--benchmark-json=out.json",
    )
    result = run(*arguments)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*qps_window_per_s*"])
    (benchmark,) = saved().values()
    info = benchmark["extra_info"]
    assert (info["window_s"], info["qps_window_per_s"]) == (10.5, 15 * 2 / 10.5)
