"""What is flagged about a timed pass."""

from __future__ import annotations

import pytest

from fixtures.device import Cpu
from fixtures.measure.flags import Watch, _Usage, busy_share, spread_flags


@pytest.mark.parametrize(
    ("samples_ms", "flags"),
    [
        ([10.0] * 30, []),
        ([10.0] * 10 + [10.4] * 10 + [10.4] * 10, []),
        ([10.0] * 10 + [10.3] * 10 + [10.6] * 10, ["drift"]),
        ([10.6] * 10 + [10.3] * 10 + [10.0] * 10, ["drift"]),
        ([10.0, 12.0] * 15, ["unstable"]),
        ([10.0, 20.0] * 4, []),  # eight rounds say nothing about spread
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
