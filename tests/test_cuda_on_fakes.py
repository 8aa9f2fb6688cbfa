"""The CUDA path without a GPU: fake torch.cuda, fake NVML, fake events on a fake clock."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
import torch

from fixtures.devices.base import DeviceError
from fixtures.devices.cuda import Cuda, visible_gpu_count
from tools import gpu as gpu_check


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """State of a fake GPU; torch.cuda and NVML read it."""
    state = SimpleNamespace(
        allocated=100, reserved=200, peak=150, peak_reserved=250, calls=[], reasons=0, pids=[1], available=True
    )
    fakes: dict[str, Any] = {
        "is_available": lambda: state.available,
        "set_device": lambda index: state.calls.append(f"set_device {index}"),
        "synchronize": lambda index: state.calls.append("synchronize"),
        "empty_cache": lambda: state.calls.append("empty_cache"),
        "reset_peak_memory_stats": lambda index: state.calls.append("reset_peak"),
        "memory_allocated": lambda index: state.allocated,
        "memory_reserved": lambda index: state.reserved,
        "max_memory_allocated": lambda index: state.peak,
        "max_memory_reserved": lambda index: state.peak_reserved,
        "mem_get_info": lambda index: (10 * 2**30, 80 * 2**30),
        "get_device_name": lambda index: "NVIDIA Fake",
        "get_device_properties": lambda index: SimpleNamespace(uuid="abc", total_memory=80 * 2**30, major=9, minor=0),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91000)
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 2)
    monkeypatch.setattr(pynvml, "nvmlSystemGetDriverVersion", lambda: "580.1")
    monkeypatch.setattr(pynvml, "nvmlDeviceGetUUID", lambda handle: handle)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", lambda uuid: uuid)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCurrentClocksEventReasons", lambda handle: state.reasons)
    monkeypatch.setattr(
        pynvml,
        "nvmlDeviceGetComputeRunningProcesses",
        lambda handle: [SimpleNamespace(pid=pid) for pid in state.pids],
    )
    return state


def test_memory_numbers_are_torchs_and_named(cuda: SimpleNamespace) -> None:
    memory = Cuda(0).memory()
    assert memory is not None
    assert (memory.allocated_bytes, memory.reserved_bytes) == (100, 200)
    assert (memory.peak_allocated_bytes, memory.peak_reserved_bytes) == (150, 250)


def test_memory_is_released_before_it_is_waited_for(cuda: SimpleNamespace) -> None:
    Cuda(0).empty_cache()
    assert cuda.calls == ["empty_cache", "synchronize"]


def test_utilisation_is_nvmls_and_none_where_it_does_not_tell(
    cuda: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pynvml, "nvmlDeviceGetUtilizationRates", lambda handle: SimpleNamespace(gpu=61, memory=9))
    read = Cuda(0).utilization_percent
    assert read is not None
    assert read() == 61.0

    def refused(handle: Any) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetUtilizationRates", refused)
    assert Cuda(0).utilization_percent is None


def test_throttling_is_named_and_idling_is_not(cuda: SimpleNamespace) -> None:
    cuda.reasons = pynvml.nvmlClocksEventReasonGpuIdle
    assert Cuda(0).throttle_reasons() == ()
    cuda.reasons = pynvml.nvmlClocksEventReasonSwPowerCap | pynvml.nvmlClocksThrottleReasonHwThermalSlowdown
    assert "SwPowerCap" in Cuda(0).throttle_reasons()
    assert "HwThermalSlowdown" in Cuda(0).throttle_reasons()


@pytest.mark.parametrize(("pids", "foreign"), [([], 0), ([7], 0), ([7, 8, 9], 2)])
def test_one_listed_process_is_us_though_its_pid_may_be_the_hosts(
    cuda: SimpleNamespace, pids: list[int], foreign: int
) -> None:
    cuda.pids = pids
    assert Cuda(0).foreign_processes() == foreign


def test_a_gpu_is_described_by_what_identifies_it(cuda: SimpleNamespace) -> None:
    described = Cuda(0).describe()
    assert (described["gpu"], described["gpu_uuid"], described["driver"]) == ("NVIDIA Fake", "GPU-abc", "580.1")


def test_a_torch_without_cuda_is_told_how_to_mend_it(cuda: SimpleNamespace) -> None:
    cuda.available = False
    with pytest.raises(DeviceError, match=r"torch .* cannot use CUDA here; install the CUDA build"):
        Cuda(0).check_torch()


def test_tf32_is_on_for_tf32_only() -> None:
    Cuda(0).set_precision("tf32")
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == (True, True)
    Cuda(0).set_precision("fp32")
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == (False, False)


@pytest.mark.parametrize(
    ("visible", "count"), [(None, 2), ("0", 1), ("0,1", 2), ("", 0), ("-1", 0), ("1,-1,0", 1), ("GPU-abc", 1)]
)
def test_gpus_are_those_that_cuda_may_see(
    cuda: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, visible: str | None, count: int
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert visible_gpu_count() == count


FAKE_GPU_CONFTEST = """
import time
import torch
from fixtures.devices import base as device, cuda, meters, timing
from fixtures.plugins import options
from fixtures.measure import energy, extras
from tests.test_timing import FakeGpu

gpu = FakeGpu()
timing.cuda_event.__init__(gpu.event, gpu.perf_counter)
options.visible_gpu_count = lambda: 1
cuda.Cuda.torch_device = property(lambda self: torch.device("cpu"))
cuda.Cuda.check_torch = lambda self: None
cuda.Cuda.synchronize = lambda self: None
cuda.Cuda.empty_cache = lambda self: None
cuda.Cuda.reset_peak_memory = lambda self: None
cuda.Cuda.hardware_name = lambda self: "NVIDIA Fake"
cuda.Cuda.describe = lambda self: {"gpu_uuid": "GPU-abc"}
cuda.Cuda.throttle_reasons = lambda self: ("SwPowerCap",)
cuda.Cuda.foreign_processes = lambda self: 0
cuda.Cuda.memory = lambda self: device.DeviceMemory(100, 200, 300, 400)
cuda.Cuda.peak_matmul_side, cuda.Cuda.peak_copy_bytes = 64, 1 << 16
cuda.Cuda.utilization_percent = property(lambda self: lambda: 73.0)
# 250 W on a counter that is always up to date
cuda.Cuda.energy_meter = lambda self: meters.CounterMeter("nvml_counter", lambda: time.perf_counter() * 250e3)
energy.WINDOW_S, energy._IDLE_S, extras._UTILIZATION_S = 0.2, 0.05, 0.1
"""

ON_THE_FAKE_GPU = """
import conftest
from torch import nn

class Net(nn.Module):
    def forward(self, pixels):
        # 1 ms to submit 20 ms of work, or 9 ms to submit 10
        conftest.gpu.enqueue(*((0.001, 0.020) if pixels.shape[0] == 1 else (0.009, 0.001)))
        return pixels.mean()

def net():
    return Net()
"""


@pytest.mark.slow
def test_a_run_on_a_fake_gpu_fills_the_gpu_fields(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, saved: Any
) -> None:
    """In a process of its own, since it replaces parts of the suite."""
    project.makeconftest(FAKE_GPU_CONFTEST)
    project.makepyfile(mine=ON_THE_FAKE_GPU)
    monkeypatch.setenv("PYTHONPATH", str(project.path))
    result = project.runpytest_subprocess(
        *("benchmarks", "-k", "custom", "--model=mine.py:net", "--device=cuda", "--batch=1,2"),
        *("--max-seconds=100", "--energy", "--utilization", "--benchmark-json=out.json"),
    )
    result.assert_outcomes(passed=2)
    one, two = (saved()[f"test_forward[net-fp32-b{batch}-224]"] for batch in (1, 2))
    assert one["options"]["timer"] == "cuda_event"
    info = one["extra_info"]
    assert (info["warmup"], info["iters"], len(one["stats"]["data"])) == (50, 300, 300)
    assert (info["device"], info["device_name"], info["latency_clock"]) == ("cuda:0", "NVIDIA Fake", "cuda_event")
    assert info["latency_p50_ms"] == pytest.approx(21.0, abs=0.01)
    assert info["latency_p99_ms"] == pytest.approx(21.0, abs=0.01)
    assert info["wall_p50_ms"] == pytest.approx(21.0, abs=0.01)
    assert (info["enqueue_p50_ms"], info["launch_bound"]) == (pytest.approx(1.0, abs=0.01), False)
    assert (info["peak_device_allocated_bytes"], info["peak_device_reserved_bytes"]) == (300, 400)
    assert (info["device_before_load_bytes"], info["device_model_bytes"]) == (100, 0)
    assert info["flags"][0] == "throttled"
    assert (two["extra_info"]["launch_bound"], two["extra_info"]["bound"]) == (True, "launch")
    assert (info["gpu_util_percent"], info["energy_source"]) == (73.0, "nvml_counter")
    assert info["power_mean_w"] == pytest.approx(250, rel=0.05)
    assert info["energy_per_sample_mj"] == info["energy_per_batch_mj"]
    assert two["extra_info"]["energy_per_sample_mj"] == two["extra_info"]["energy_per_batch_mj"] / 2


@pytest.mark.parametrize(
    ("seen", "expected", "limit", "passed"),
    [(1.015, 1.0, 0.02, True), (0.985, 1.0, 0.02, True), (1.03, 1.0, 0.02, False), (0.0, 0.0, 0.0, True)],
)
def test_gpu_check_judges_by_the_relative_difference(seen: float, expected: float, limit: float, passed: bool) -> None:
    assert gpu_check.Check("x", seen, expected, limit).passed is passed
