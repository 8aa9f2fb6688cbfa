"""Energy on fake counters and a fake clock: exact joules, an update in between, a wrap, a reset."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fixtures.devices.cpu import Cpu
from fixtures.devices.cuda import Cuda
from fixtures.devices.meters import CounterMeter, NoEnergyError, PowerMeter, RaplDomain, RaplMeter, rapl_meter
from fixtures.inputs.batches import Call
from fixtures.measure.energy import WINDOW_S, measure_energy
from fixtures.measure.window import Repeated
from fixtures.progress import Progress
from tests.world import CALL_S, CALL_W, IDLE_W, World


def repeated(world: World) -> Repeated:
    return Repeated(lambda _: world.spend(CALL_S, CALL_W), [Call((), {})], Cpu(), Progress(None))


def test_a_counter_that_is_always_up_to_date_gives_exact_joules(world: World) -> None:
    found = measure_energy(CounterMeter("nvml_counter", lambda: world.uj / 1e3), repeated(world), batch=4)
    # After 20 calls 5 s are over; whether the counter is up to date is known one call later.
    assert (found.energy_source, found.energy_window_s) == ("nvml_counter", 21 * CALL_S)
    assert found.power_idle_w == pytest.approx(IDLE_W)
    assert found.energy_per_batch_mj == CALL_S * CALL_W * 1e3
    assert found.energy_per_sample_mj == CALL_S * CALL_W * 1e3 / 4
    assert found.power_mean_w == CALL_W
    assert found.samples_per_joule == 4 / (CALL_S * CALL_W)


def test_a_window_begins_and_ends_at_an_update_of_the_counter(world: World) -> None:
    """Read in between two updates, 0.4 s apart, up to 8 % of five seconds would be missing."""

    def updated_now_and_then() -> float:
        return float(int(world.now_us / 4e5) * 4e5 * CALL_W / 1e3)

    found = measure_energy(CounterMeter("nvml_counter", updated_now_and_then), repeated(world), 1)
    assert (found.energy_window_s or 0) >= WINDOW_S
    assert found.power_mean_w == pytest.approx(CALL_W, rel=CALL_S / WINDOW_S)


def test_a_counter_that_is_reset_within_the_window_is_read_again(world: World) -> None:
    counter = {"base": 0}

    def read() -> float:
        return (world.uj - counter["base"]) / 1e3

    meter = CounterMeter("nvml_counter", read)
    calls = {"n": 0}

    def call(_: Call) -> None:
        world.spend(CALL_S, CALL_W)
        calls["n"] += 1
        if calls["n"] == 18:
            counter["base"] = world.uj - 1

    found = measure_energy(meter, Repeated(call, [Call((), {})], Cpu(), Progress(None)), 1)
    assert found.energy_per_batch_mj == pytest.approx(CALL_S * CALL_W * 1e3)
    assert 0 < (found.energy_window_s or 0) < calls["n"] * CALL_S


def test_a_counter_that_never_moves_or_is_always_reset_is_no_energy(world: World) -> None:
    with pytest.raises(NoEnergyError, match="nvml_counter did not move"):
        measure_energy(CounterMeter("nvml_counter", lambda: 7.0), repeated(world), 1)
    with pytest.raises(NoEnergyError, match="was reset"):
        measure_energy(CounterMeter("nvml_counter", lambda: 1e12 - world.uj), repeated(world), 1)


def test_a_wrap_of_one_package_counts_on() -> None:
    values = {"a": 900, "b": 10}

    class Domain(RaplDomain):
        def read_uj(self) -> int:
            return values[self.path.name]

    meter = RaplMeter([Domain(Path("a"), 999), Domain(Path("b"), 999)])
    meter.start()
    values.update(a=50, b=110)
    assert meter.stop_mj() == (150 + 100) / 1e3


def test_rapl_is_found_by_package_and_its_parts_are_not_counted_twice(tmp_path: Path) -> None:
    for name, what, uj in (
        ("intel-rapl:0", "package-0", 5),
        ("intel-rapl:0:0", "core", 3),
        ("intel-rapl:1", "psys", 9),
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "name").write_text(what + "\n")
        (folder / "energy_uj").write_text(str(uj))
        (folder / "max_energy_range_uj").write_text("1000000")
    meter = rapl_meter(tmp_path)
    meter.start()
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("2005")
    (tmp_path / "intel-rapl:0:0" / "energy_uj").write_text("9999")
    assert meter.stop_mj() == 2.0


def test_where_there_is_no_counter_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoEnergyError, match="no RAPL counter"):
        rapl_meter(tmp_path)


def test_power_samples_are_integrated(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = PowerMeter(lambda: 0.0)
    meter.start()
    meter._sampler.__exit__()
    meter._sampler.samples[:] = [(0.0, 10_000.0), (1.0, 20_000.0), (3.0, 20_000.0)]
    monkeypatch.setattr(meter._sampler, "__exit__", lambda *_: None, raising=False)
    monkeypatch.setattr(type(meter._sampler), "__exit__", lambda *_: None)
    assert meter.stop_mj() == 15_000 + 40_000


class Nvml(SimpleNamespace):
    class NVMLError(Exception):
        pass


def fake_nvml(counter: Callable[[Any], int] | None, power: Callable[[Any], int] | None) -> Nvml:
    def missing(_: Any) -> int:
        raise Nvml.NVMLError("Not Supported")

    return Nvml(nvmlDeviceGetTotalEnergyConsumption=counter or missing, nvmlDeviceGetPowerUsage=power or missing)


@pytest.mark.parametrize(
    ("counter", "power", "source"),
    [(lambda _: 5, lambda _: 5, "nvml_counter"), (None, lambda _: 5, "nvml_power")],
)
def test_a_gpu_is_asked_for_its_counter_first(
    counter: Any, power: Any, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(counter, power))
    monkeypatch.setattr(Cuda, "_nvml_handle", lambda self: "gpu")
    assert Cuda(0).energy_meter().source == source


def test_a_gpu_that_tells_nothing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(None, None))
    monkeypatch.setattr(Cuda, "_nvml_handle", lambda self: "gpu")
    with pytest.raises(NoEnergyError, match="neither energy nor power"):
        Cuda(0).energy_meter()
