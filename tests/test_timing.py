"""Clocks: what a stamp is, what a subtraction gives, what it waits for. Fake events, fake host clock."""

from __future__ import annotations

import pytest

from fixtures.devices.timing import CudaEventTimer, Lap


class FakeGpu:
    """A host clock and a device that runs `busy_s` behind it; recording an event costs the host 1 µs."""

    def __init__(self) -> None:
        self.host_s = 0.0
        self.device_s = 0.0
        self.created = 0

    def perf_counter(self) -> float:
        return self.host_s

    def enqueue(self, host_s: float, device_s: float) -> None:
        """Submit work: the host needs `host_s` to submit it, the device `device_s` to do it."""
        self.host_s += host_s
        self.device_s = max(self.device_s, self.host_s) + device_s

    def event(self) -> FakeEvent:
        self.created += 1
        return FakeEvent(self)


class FakeEvent:
    def __init__(self, gpu: FakeGpu) -> None:
        self.gpu = gpu
        self.at_s: float | None = None

    def record(self) -> None:
        self.at_s = max(self.gpu.device_s, self.gpu.host_s)
        self.gpu.host_s += 1e-6

    def synchronize(self) -> None:
        assert self.at_s is not None
        self.gpu.host_s = max(self.gpu.host_s, self.at_s)

    def elapsed_time(self, end: FakeEvent) -> float:
        assert self.at_s is not None
        assert end.at_s is not None
        return (end.at_s - self.at_s) * 1e3


@pytest.fixture
def gpu() -> FakeGpu:
    return FakeGpu()


@pytest.fixture
def timer(gpu: FakeGpu) -> CudaEventTimer:
    return CudaEventTimer(gpu.event, gpu.perf_counter)


def test_difference_is_device_seconds_end_minus_start(gpu: FakeGpu, timer: CudaEventTimer) -> None:
    """The wrong order would be negative, milliseconds a thousand times too much."""
    start = timer()
    gpu.enqueue(host_s=0.001, device_s=0.020)
    end = timer()
    # Submitted at 1.001 ms, done 20 ms later; the start event was reached at 0.
    assert end - start == pytest.approx(0.021001)


def test_laps_tell_enqueue_and_wall_apart(gpu: FakeGpu, timer: CudaEventTimer) -> None:
    start = timer()
    gpu.enqueue(host_s=0.001, device_s=0.020)
    _ = timer() - start
    (lap,) = timer.laps
    assert lap.enqueue_s == pytest.approx(0.001)
    assert lap.wall_s == pytest.approx(0.021)


def test_subtraction_waits_for_the_end_event_only(gpu: FakeGpu, timer: CudaEventTimer) -> None:
    """Work submitted after the end stamp is not waited for."""
    start = timer()
    gpu.enqueue(0.001, 0.010)
    end = timer()
    gpu.enqueue(0.0, 5.0)
    _ = end - start
    assert gpu.host_s < 1.0


def test_work_submitted_before_the_start_is_not_counted(gpu: FakeGpu, timer: CudaEventTimer) -> None:
    gpu.enqueue(0.0, 3.0)
    start = timer()
    gpu.enqueue(0.001, 0.010)
    assert timer() - start == pytest.approx(0.010)


def test_events_are_reused_so_that_none_is_created_inside_a_call(gpu: FakeGpu, timer: CudaEventTimer) -> None:
    for _ in range(50):
        start = timer()
        gpu.enqueue(0.0, 0.001)
        _ = timer() - start
    assert gpu.created == 2
    assert timer.laps[-1] == Lap(enqueue_s=pytest.approx(0.0), wall_s=pytest.approx(0.001, abs=2e-6))


def test_the_saved_json_names_the_clock(timer: CudaEventTimer) -> None:
    assert timer.__name__ == "cuda_event"
