"""What is flagged about a timed pass."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest

from fixtures.devices.cpu import Cpu
from fixtures.measure.flags import Watch, _Usage, busy_share
from fixtures.stats.spread import spread_flags
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("samples_ms", "flags"),
    [
        ([10.0] * 30, []),
        ([10.0] * 10 + [10.4] * 10 + [10.4] * 10, []),
        ([10.0] * 10 + [10.3] * 10 + [10.6] * 10, ["drift"]),
        ([10.6] * 10 + [10.3] * 10 + [10.0] * 10, ["drift"]),
        ([10.0, 12.0] * 15, ["unstable"]),
        # Few rounds.
        ([10.0, 20.0, 40.0], ["unstable"]),
        ([10.0, 20.0] * 4, ["unstable"]),
        ([10.0, 10.0, 10.0, 10.0, 50.0], ["unstable"]),
        ([10.0, 13.0], ["unstable"]),
        ([10.0, 10.3, 10.1], []),
        ([10.0] * 7 + [14.0], []),
        ([10.0], []),
        # Two modes, in any order, the rarer one slow or fast.
        (([10.0] * 4 + [50.0]) * 20, ["unstable"]),
        (([10.0] * 4 + [50.0]) * 2, ["unstable"]),
        (([50.0] * 4 + [10.0]) * 8, ["unstable"]),
        (([10.0, 10.2, 9.9, 10.1, 13.0, 10.0, 10.1]) * 8, ["unstable"]),
        # Strays, and a long tail with no valley before it.
        (([10.0] * 24 + [50.0]) * 4, []),
        (([10.0] * 14 + [50.0]), []),
        ([10.0 + 0.02 * 2 ** (index % 20 / 2.5) / 2.5 for index in range(100)], []),
    ],
)
def test_drift_and_spread(samples_ms: list[float], flags: list[str]) -> None:
    assert spread_flags(samples_ms) == flags


def test_others_share_of_the_machine() -> None:
    """Two cores for 10 s: 14 s busy, of which 13 were ours."""
    before, after = _Usage(0.0, 100.0, 50.0, 0), _Usage(10.0, 114.0, 63.0, 0)
    assert busy_share(before, after, cores=2) == pytest.approx(0.05)


def test_clock_ticks_never_make_a_negative_share() -> None:
    assert busy_share(_Usage(0.0, 0.0, 0.0, 0), _Usage(1.0, 0.9, 1.0, 0), cores=2) == 0.0


def test_throttling_of_either_processor_is_flagged(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([_Usage(0.0, 0.0, 0.0, throttled=3), _Usage(1.0, 1.0, 1.0, throttled=4)])
    quiet(monkeypatch, load=0.0)
    monkeypatch.setattr("fixtures.measure.flags._usage", lambda partners: next(readings))
    assert Watch(Cpu()).flags([1.0]) == ("cpu_throttled",)


def quiet(monkeypatch: pytest.MonkeyPatch, load: float, wall_s: float = 1.0) -> None:
    readings = iter([_Usage(0.0, 0.0, 0.0, 0), _Usage(wall_s, 0.0, 0.0, 0)])
    monkeypatch.setattr("fixtures.measure.flags._usage", lambda partners: next(readings))
    monkeypatch.setattr("fixtures.measure.flags.psutil.getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr("fixtures.measure.flags.psutil.cpu_count", lambda: 4)


def test_a_load_above_the_cores_is_flagged(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet(monkeypatch, load=5.1)
    assert Watch(Cpu()).flags([1.0]) == ("host_busy",)
    quiet(monkeypatch, load=4.9)  # our own threads on all four, and a little more
    assert Watch(Cpu()).flags([1.0]) == ()


def test_what_alternates_with_us_does_not_count_as_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """One foreign process on the GPU: our partner, or a stranger."""

    class Shared(Cpu):
        def foreign_processes(self) -> int:
            return 1

    quiet(monkeypatch, load=0.0)
    assert Watch(Shared(), partners=(1, 2)).flags([1.0]) == ()
    quiet(monkeypatch, load=0.0)
    assert Watch(Shared()).flags([1.0]) == ("foreign_gpu_process",)


def test_of_clean_runs_few_are_accused_and_of_noisy_ones_many_times_more() -> None:
    """Stretches of committed runs, of the half that the thresholds were not chosen on."""
    runs = [np.array(samples_ms) for index, samples_ms in enumerate(_committed_runs_ms()) if index % 2]
    spread = [float(np.diff(np.quantile(run, (0.25, 0.75)))[0] / np.median(run)) for run in runs]
    clean = [run for run, share in zip(runs, spread, strict=True) if share <= 0.05]
    noisy = [run for run, share in zip(runs, spread, strict=True) if share > 0.15]

    def accused(found: list[np.ndarray], rounds: int) -> float:
        stretches = [run[i : i + rounds] for run in found for i in range(0, len(run) - rounds + 1, rounds)]
        return float(np.mean(["unstable" in spread_flags(stretch) for stretch in stretches]))

    for rounds in (3, 5, 8, 9, 12):
        assert accused(clean, rounds) < min(0.1, accused(noisy, rounds) / 4)


def _committed_runs_ms() -> Iterator[list[float]]:
    for path in [
        *sorted((ROOT / "results").glob("*_torch*.json")),
        ROOT / "tests" / "evidence" / "speedup-yolov8n_20261120.json",
    ]:
        for benchmark in json.loads(path.read_text())["benchmarks"]:
            info = benchmark["extra_info"]
            sides = [info.get("speedup_samples_ms") or [], info.get("speedup_baseline_samples_ms") or []]
            for samples_ms in ([seconds * 1e3 for seconds in benchmark["stats"]["data"]], *sides):
                if len(samples_ms) >= 20:
                    yield samples_ms
