"""What a device does at most: measured until two agree, kept, and never exceeded by a case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from fixtures.devices.cpu import Cpu
from fixtures.measure import peaks
from fixtures.measure.peaks import Peaks, known_peaks, measure_peaks
from tests.conftest import OWN, Run, Saved, info_of


def test_peaks_are_the_quickest_of_a_few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cpu, "peak_matmul_side", 10)
    monkeypatch.setattr(Cpu, "peak_copy_bytes", 1000)
    _takes(
        monkeypatch,
        [0.09, 0.02, 0.01, 0.04, 0.04, 0.04, 0.04, 0.04, 0.09, 0.03, 0.005, 0.03, 0.03, 0.03, 0.03, 0.03],
    )
    assert measure_peaks(Cpu(), torch.float32) == _nearly(0.01, 0.005)


def test_a_processor_that_takes_seconds_for_a_product_is_not_asked_eight_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One without bf16 took 18 s for a measurement of one second, of which there are up to four."""
    monkeypatch.setattr(Cpu, "peak_matmul_side", 10)
    monkeypatch.setattr(Cpu, "peak_copy_bytes", 1000)
    _takes(monkeypatch, [2.4, 2.3, *(8 * [0.5])])
    assert measure_peaks(Cpu(), torch.bfloat16) == _nearly(2.3, 0.5)


def _nearly(matmul_s: float, copy_s: float) -> Any:
    gflops_per_s, gbytes_per_s = 2 * 10**3 / matmul_s / 1e9, 2 * 1000 / copy_s / 1e9
    return Peaks(pytest.approx(gflops_per_s), pytest.approx(gbytes_per_s))  # type: ignore[arg-type]


def _takes(monkeypatch: pytest.MonkeyPatch, took_s: list[float]) -> None:
    """So long each call takes, one after the other."""
    stamps = iter([stamp for index, seconds in enumerate(took_s) for stamp in (100.0 * index, 100.0 * index + seconds)])
    monkeypatch.setattr("fixtures.measure.peaks.clock.perf_counter", lambda: next(stamps))


def test_peaks_are_measured_once_a_machine_and_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def measure(device: Cpu, dtype: Any) -> Peaks:
        asked.append(dtype)
        return Peaks(len(asked), 1.0)

    monkeypatch.setattr(peaks, "measure_peaks", measure)
    monkeypatch.setattr(peaks, "_TRIES", 1)
    first = known_peaks(Cpu(), "fp32", torch.float32, 2, tmp_path)
    assert known_peaks(Cpu(), "fp32", torch.float32, 2, tmp_path) == first
    assert known_peaks(Cpu(), "bf16", torch.bfloat16, 2, tmp_path) != first
    assert known_peaks(Cpu(), "fp32", torch.float32, 1, tmp_path) != first
    assert asked == [torch.float32, torch.bfloat16, torch.float32]
    (file, *_) = tmp_path.glob("*.json")
    file.write_text("{")  # damaged: measured again
    for precision, dtype, threads in (
        ("fp32", torch.float32, 2),
        ("bf16", torch.bfloat16, 2),
        ("fp32", torch.float32, 1),
    ):
        known_peaks(Cpu(), precision, dtype, threads, tmp_path)
    assert len(asked) == 4


def test_peaks_are_measured_again_until_two_agree_and_the_best_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On a busy machine a roof was measured of which a case then attained 10.4 times."""
    seen = [Peaks(10.0, 9.0), Peaks(50.0, 10.0), Peaks(100.0, 9.9), Peaks(99.0, 10.0), Peaks(300.0, 1.0)]
    monkeypatch.setattr(peaks, "measure_peaks", lambda *_: seen.pop(0))
    assert known_peaks(Cpu(), "fp32", torch.float32, 2, tmp_path) == Peaks(100.0, 10.0)
    seen.insert(0, Peaks(290.0, 1.0))
    assert known_peaks(Cpu(), "fp32", torch.float32, 2, tmp_path) == Peaks(100.0, 10.0)
    assert known_peaks(Cpu(), "fp32", torch.float32, 2, tmp_path, anew=True) == Peaks(300.0, 10.0)
    assert known_peaks(Cpu(), "fp32", torch.float32, 2, tmp_path) == Peaks(300.0, 10.0)


def test_peaks_of_two_dtypes_are_two(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """int8 of torch runs a module in fp32, that of another runtime one in bf16."""
    monkeypatch.setattr(peaks, "measure_peaks", lambda _, dtype: Peaks(float(dtype.itemsize), 1.0))
    found = [known_peaks(Cpu(), "int8", dtype, 2, tmp_path).gflops_per_s for dtype in (torch.float32, torch.bfloat16)]
    assert found == [4.0, 2.0]


@pytest.mark.parametrize(("again", "mfu"), [(Peaks(1e9, 1e9), True), (Peaks(1e-9, 1e9), False)])
def test_a_share_of_a_peak_above_one_is_never_shown(
    run: Run, saved: Saved, monkeypatch: pytest.MonkeyPatch, again: Peaks, mfu: bool
) -> None:
    monkeypatch.setattr(peaks, "measure_peaks", lambda *_: again)
    for file in Path("results/peaks").glob("*.json"):
        file.write_text('{"gflops_per_s": 1e-9, "gbytes_per_s": 1e9}')
    run(*OWN, "--benchmark-json=out.json").assert_outcomes(passed=1)
    info = info_of(saved)
    assert (info["mfu"] is not None) == mfu
    assert mfu or any(note.startswith("mfu: ") and "of the peak" in note for note in info["notes"])
