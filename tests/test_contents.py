"""What a report is about: of each case on each machine the latest record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fixtures.record.machines import slug
from fixtures.record.saved import read_saved
from fixtures.report.contents import contents
from fixtures.report.sides import compared
from fixtures.stats.percentiles import median_interval_ms
from tests.saved import H200, MACHINE, detectors, save, timed
from tests.test_findings import on_gpu, report_of


def test_the_medians_interval_holds_the_median_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    found = [median_interval_ms(list(rng.exponential(1, 25))) for _ in range(2000)]
    held = np.mean([low <= np.log(2) <= high for low, high in (each for each in found if each is not None)])
    assert 0.95 <= held <= 0.98  # of 25 the exact figure is 0.957
    assert median_interval_ms([1.0] * 5) is None
    assert median_interval_ms([6.0, 1.0, 2.0, 3.0, 4.0, 5.0]) == (1.0, 6.0)
    assert median_interval_ms([]) is None


def test_cases_come_sorted_by_parameters(tmp_path: Path) -> None:
    report = report_of(tmp_path, detectors()[::-1])
    assert [(case.record.model, case.record.batch) for case in report.cases] == [
        ("small", 1),
        ("fast", 1),
        ("fast", 8),
        ("worse", 1),
    ]
    unknown = replace(detectors()[0], params=None, model="unknown")
    assert report_of(tmp_path, [unknown, *detectors()]).cases[-1].record.model == "unknown"


def test_rounds_of_several_processes_have_no_interval_of_their_own(tmp_path: Path) -> None:
    one = timed(100.0)
    (case,) = report_of(tmp_path, [one]).cases
    assert case.interval_ms is not None
    (case,) = report_of(tmp_path, [replace(one, process_rounds=(50, 50))]).cases
    assert case.interval_ms is None


def test_the_latest_run_counts_and_machines_are_kept_apart(tmp_path: Path) -> None:
    small = detectors()[0]
    gpu = on_gpu(timed(2.0, small))
    runs = [
        read_saved(save(tmp_path / "old.json", [small])),
        read_saved(save(tmp_path / "new.json", [timed(44.0, small)], taken="2026-11-21T00:00:00+00:00")),
        read_saved(save(tmp_path / "zgpu.json", [gpu], machine=H200)),
    ]
    report = contents(runs)
    assert [(case.machine.label, case.record.latency_p50_ms) for case in report.cases] == [
        ("AMD EPYC", 44.0),
        ("NVIDIA H200", 2.0),
    ]
    assert report.machines[1].hardware == (
        "NVIDIA H200, 2 cores, 25 GB RAM, 150 GB memory, driver 580.95, CUDA 13.0, host AMD EPYC"
    )
    assert report.machines[0].dates == ("2026-11-21", "2026-11-21")  # of what is shown


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("../../x", "x"),
        ("<script>", "script"),
        ("a b/c", "a-b-c"),
        ("", "unnamed"),
        (".hidden", "hidden"),
        ("✓", "unnamed"),
    ],
)
def test_a_name_from_outside_becomes_a_harmless_file_name(text: str, name: str) -> None:
    assert slug(text) == name


def test_machines_differ_by_gpu_and_by_cores(tmp_path: Path) -> None:
    record = on_gpu(detectors()[0])
    others = [{**H200, "gpu_memory_bytes": gib * 2**30, "gpu_capability": "9.0"} for gib in (141, 70)]
    runs = [read_saved(save(tmp_path / f"{i}.json", [record], machine=m)) for i, m in enumerate(others)]
    assert [machine.label for machine in contents(runs).machines] == [
        "NVIDIA H200 (141 GiB)",
        "NVIDIA H200 (70 GiB)",
    ]
    cores = [{**MACHINE, "cores_allowed": count} for count in (2, 128)]
    runs = [read_saved(save(tmp_path / f"{i}.json", detectors()[:1], machine=m)) for i, m in enumerate(cores)]
    report = contents(runs)
    assert [machine.label for machine in report.machines] == ["AMD EPYC (2 cores)", "AMD EPYC (128 cores)"]
    assert [verdict.status for verdict in compared(*runs).verdicts] == ["invalid"]


def test_of_versions_that_differ_between_what_is_shown_each_is_told(tmp_path: Path) -> None:
    newer = {**MACHINE, "versions": {"torch": "9.9.9", "numpy": "2.4.6"}}
    small, fast, _, _ = detectors()
    runs = [
        read_saved(save(tmp_path / "old.json", [small, fast])),
        read_saved(save(tmp_path / "new.json", [small], machine=newer, taken="2026-11-21T00:00:00+00:00")),
    ]
    assert "torch 9.9.9 / 2.14.1, numpy 2.4.6" in contents(runs).machines[0].software
    runs[1] = read_saved(save(tmp_path / "all.json", [small, fast], machine=newer, taken="2026-11-21T00:00:00+00:00"))
    assert "torch 9.9.9, numpy" in contents(runs).machines[0].software
