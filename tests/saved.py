"""Saved runs for tests of what reads them: records written as pytest-benchmark would."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fixtures.record.record import Record
from tests.record import RECORD

COMMIT = "c2f1587a67fbaea7e46ad5cd7c29cdd7da4f38f6"
MACHINE = {
    "versions": {"torch": "2.14.1", "numpy": "2.4.6"},
    "driver": None,
    "cores_allowed": 2,
    "ram_bytes": 25_000_000_000,
    "os": "Linux",
    "machine": "x86_64",
    "python_version": "3.11.7",
    "cpu_name": "AMD EPYC",
}
H200 = {
    **MACHINE,
    "versions": {"torch": "2.11.0"},
    "driver": "580.95",
    "cuda": "13.0",
    "gpu_uuid": "GPU-0123456789ab",
    "gpu_memory_bytes": 150_000_000_000,
}


def case_id(record: Record) -> str:
    """As pytest would name it."""
    file = "custom" if record.family == "custom" else record.family
    suffix = "" if record.runtime == "eager" else f"-{record.runtime}"
    size = "" if record.imgsz is None else f"-{record.imgsz}"
    case = f"{record.model}-{record.precision}-b{record.batch}{size}{suffix}"
    return f"benchmarks/test_{file}.py::test_{record.workload}[{case}]"


def timed(p50_ms: float, record: Record = RECORD, **changes: Any) -> Record:
    """A record whose latencies and throughput belong together."""
    record = replace(record, **changes)
    per_s = 1e3 * record.batch / p50_ms
    return replace(
        record,
        latency_p50_ms=p50_ms,
        latency_mean_ms=p50_ms * 1.01,
        latency_min_ms=p50_ms * 0.9,
        latency_max_ms=p50_ms * 1.5,
        latency_p90_ms=p50_ms * 1.1,
        latency_p95_ms=p50_ms * 1.2,
        latency_per_sample_ms=p50_ms / record.batch,
        throughput_p50_per_s=per_s,
        throughput_mean_per_s=per_s,
    )


def faster(benchmark: dict[str, Any], times: float) -> None:
    """A saved case as if it had been so many times as fast, in everything that its file says of it."""
    info, stats = benchmark["extra_info"], benchmark["stats"]
    for name in [name for name in info if re.fullmatch(r"(latency|wall)_\w+_ms", name) and info[name]]:
        info[name] /= times
    for name in ("throughput_mean_per_s", "throughput_p50_per_s"):
        info[name] *= times
    for name in ("min", "max", "mean", "median", "q1", "q3"):
        stats[name] /= times
    stats["data"] = [seconds / times for seconds in stats["data"]]


def rounds_of(record: Record, count: int = 100) -> list[float]:
    """Raw seconds around the record's p50, the same each time."""
    noise = np.random.default_rng(len(record.model)).lognormal(0, 0.03, count)
    return [float(value) for value in record.latency_p50_ms / 1e3 * noise / np.median(noise)]


def save(
    path: Path,
    records: Sequence[Record],
    *,
    machine: dict[str, Any] = MACHINE,
    taken: str = "2026-11-20T13:22:24+00:00",
    commit: str | None = COMMIT,
    rounds: int = 100,
    **more: Any,
) -> Path:
    """A saved file of these records."""
    benchmarks = [
        {"fullname": case_id(record), "extra_info": record.extra_info(), "stats": {"data": rounds_of(record, rounds)}}
        for record in records
    ]
    info = {"id": commit, "dirty": False} if commit else {}
    content = {"machine_info": machine, "commit_info": info, "datetime": taken, "benchmarks": benchmarks, **more}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def detectors() -> list[Record]:
    """Three of one task: small and slow, large and fast, and one that is worse than the second in everything."""
    shared: dict[str, Any] = {"family": "yolo", "task": "object detection", "imgsz": 640}
    small = timed(40.0, model="small", batch=1, params=2_000_000, **shared)
    fast = timed(20.0, model="fast", batch=1, params=3_000_000, **shared)
    worse = timed(60.0, model="worse", batch=1, params=4_000_000, **shared)
    return [small, fast, worse, timed(100.0, model="fast", batch=8, params=3_000_000, **shared)]
