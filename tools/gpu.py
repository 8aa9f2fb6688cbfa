"""`make gpu-check`: do the clocks and counters agree with independent ones on this GPU?

Event median against the profiler's device time (2 %) and against wall (2 %) on a GPU-bound case, p50 run to run (1 %),
memory numbers against `torch.cuda.memory_stats` (equal), energy of two equal windows (3 %).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from fixtures.cases.family import Build, family
from fixtures.devices.cuda import Cuda, visible_gpu_count
from fixtures.devices.meters import NoEnergyError
from fixtures.inputs.batches import Call
from fixtures.measure.energy import measure_energy
from fixtures.measure.memory import measure_memory
from fixtures.measure.window import Repeated
from fixtures.progress import Progress
from fixtures.record.decoding import record_from
from fixtures.record.record import Record

ROOT = Path(__file__).parent.parent
MODEL, BATCH = "clip-vit-l14", 8
CASE = f"{MODEL} and test_image_encoder"
_PROFILED_CALLS = 30


@dataclass(frozen=True)
class Check:
    """Two numbers of the same thing, and by how much they may differ, relative to the expected one."""

    name: str
    seen: float
    expected: float
    limit: float

    @property
    def difference(self) -> float:
        """Relative to the expected number; 0 when both are 0."""
        return abs(self.seen - self.expected) / abs(self.expected) if self.expected else abs(self.seen)

    @property
    def passed(self) -> bool:
        return self.difference <= self.limit


def _run_suite() -> Record:
    """The record of the GPU-bound case, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        command = [sys.executable, "-m", "pytest", "benchmarks", "-q", "-k", CASE, f"--batch={BATCH}", "--device=0"]
        subprocess.run([*command, "--all-models", f"--benchmark-json={out}"], cwd=ROOT, check=True)  # noqa: S603
        (benchmark,) = json.loads(out.read_text())["benchmarks"]
    return record_from(benchmark["extra_info"])


def _profiled_ms(call: Any) -> float:
    """Median over calls of the time that the device's kernels took, by the profiler's own clock."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    spans_ms = []
    for _ in range(_PROFILED_CALLS):
        with profile(activities=[ProfilerActivity.CUDA]) as profiler:
            call()
            torch.cuda.synchronize()
        spans_ms.append(sum(event.self_device_time_total for event in profiler.key_averages()) / 1e3)
    return float(np.median(spans_ms))


def _energy_checks(device: Cuda, call: Any) -> list[Check]:
    """Energy a call in two windows one after the other; none where NVML tells nothing."""
    repeated = Repeated(lambda _: call(), [Call((), {})], device, Progress(None))
    try:
        first, second = (measure_energy(device.energy_meter(), repeated, 1) for _ in range(2))
    except NoEnergyError as error:
        Console().print(f"energy: {error}")
        return []
    name = f"mJ a call, window to window ({first.energy_source})"
    return [Check(name, second.energy_per_batch_mj or 0.0, first.energy_per_batch_mj or 0.0, 0.03)]


def _in_this_process() -> tuple[float, list[Check]]:
    """Profiled device ms of the same call, and what memory and energy passes say of it."""
    import torch

    device = Cuda(0)
    device.check_torch()
    device.set_precision("fp32")
    (spec,) = [spec for spec in family("clip").specs if spec.name == MODEL]
    model: Any = family("clip").load(spec, Build(42, torch.float32, device.new_clock()))
    model.to(device.torch_device)
    pixels = torch.randn(BATCH, 3, spec.imgsz, spec.imgsz, device=device.torch_device)
    with torch.inference_mode():
        for _ in range(20):
            model.encode_image(pixels)
        seen = measure_memory(device, lambda: model.encode_image(pixels)).device
        stats = torch.cuda.memory_stats(0)
        profiled_ms = _profiled_ms(lambda: model.encode_image(pixels))
        energy = _energy_checks(device, lambda: model.encode_image(pixels))
    assert seen is not None
    pairs = {
        "allocated": (seen.allocated_bytes, stats["allocated_bytes.all.current"]),
        "peak allocated": (seen.peak_allocated_bytes, stats["allocated_bytes.all.peak"]),
        "peak reserved": (seen.peak_reserved_bytes, stats["reserved_bytes.all.peak"]),
    }
    memory = [Check(f"{name} bytes / memory_stats", *numbers, 0.0) for name, numbers in pairs.items()]
    return profiled_ms, [*memory, *energy]


def checks() -> list[Check]:
    """Run everything; needs a GPU."""
    first, second = _run_suite(), _run_suite()
    profiled_ms, others = _in_this_process()
    return [
        Check("event p50 ms / profiler's device ms", first.latency_p50_ms, profiled_ms, 0.02),
        Check("event p50 ms / wall p50 ms", first.latency_p50_ms, first.wall_p50_ms, 0.02),
        Check("event p50 ms, run to run", second.latency_p50_ms, first.latency_p50_ms, 0.01),
        *others,
    ]


def main() -> int:
    """Print the checks; 0 when all pass, 1 when one fails, 2 without a GPU."""
    console = Console()
    if not visible_gpu_count():
        console.print("gpu-check: no NVIDIA GPU or driver here; nothing was checked")
        return 2
    table = Table("check", "seen", "expected", "difference", "limit", "", title=Cuda(0).hardware_name())
    found = checks()
    for check in found:
        verdict = "[green]ok[/]" if check.passed else "[red]FAILED[/]"
        table.add_row(
            *(check.name, f"{check.seen:.6g}", f"{check.expected:.6g}"),
            *(f"{check.difference:.2%}", f"{check.limit:.0%}", verdict),
        )
    console.print(table)
    return 0 if all(check.passed for check in found) else 1


if __name__ == "__main__":
    sys.exit(main())
