"""What stands beside latency in every record: traffic, roofline, file size, compile time, agreement; and on request."""

from __future__ import annotations

import math
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fixtures.cases.family import Source
from fixtures.cases.meta import meta_copy
from fixtures.config.prices import Price, PriceError, parse_price
from fixtures.measure import output, peaks
from fixtures.measure.compilation import CompileWatch
from fixtures.measure.money import money
from fixtures.measure.peaks import Peaks, bound_of
from fixtures.measure.sizes import safetensors_bytes, stored_bytes
from fixtures.measure.window import Repeated
from fixtures.record.asked import BestBatch, Money, Window
from fixtures.record.notes import absent
from tests.conftest import OWN, Run, Saved, info_of, no_traceback
from tests.tiny import small_clip


def test_traffic_and_roofline_stand_in_every_record(
    run: Run, saved: Saved, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peaks, "measure_peaks", lambda device, dtype: Peaks(100.0, 10.0))
    run(*OWN, "--benchmark-json=out.json").assert_outcomes(passed=1)
    info = info_of(saved)
    pixels, outputs, kernels = 3 * 224 * 224, 4 * 222 * 222, 4 * 3 * 9 + 4
    macs = outputs * 27
    assert info["mem_read_bytes"] == 4 * (pixels + kernels + outputs)
    assert info["mem_write_bytes"] == 4 * (outputs + 4)
    assert info["gmadds"] == 2 * macs / 1e9
    moved = info["mem_read_bytes"] + info["mem_write_bytes"]
    assert info["arithmetic_intensity"] == 2 * macs / moved
    seconds = info["latency_p50_ms"] / 1e3
    assert info["mfu"] == pytest.approx(2 * macs / 1e9 / seconds / 100)
    assert info["mbu"] == pytest.approx(moved / 1e9 / seconds / 10)
    assert info["bound"] == "memory"
    assert (info["device_peak_gflops_per_s"], info["device_peak_gbytes_per_s"]) == (100.0, 10.0)


@pytest.mark.parametrize(
    ("intensity", "launch_bound", "bound"),
    [(9.9, None, "memory"), (10.0, None, "compute"), (50.0, True, "launch"), (50.0, False, "compute")],
)
def test_what_bounds_a_case(intensity: float, launch_bound: bool | None, bound: str) -> None:
    assert bound_of(intensity, Peaks(100.0, 10.0), launch_bound) == bound


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(7, 5)
        self.tied = nn.Linear(7, 5, bias=False)
        self.tied.weight = self.linear.weight
        self.register_buffer("steps", torch.zeros(3, dtype=torch.int64))
        self.half_weight = nn.Parameter(torch.zeros(9, dtype=torch.bfloat16))


def test_file_size_is_what_safetensors_writes(tmp_path: Path) -> None:
    module = Mixed()
    state = module.state_dict()
    del state["tied.weight"]  # as save_model leaves it out
    save_file(state, tmp_path / "m.safetensors")
    assert safetensors_bytes(module) == (tmp_path / "m.safetensors").stat().st_size
    assert safetensors_bytes(meta_copy(module, module)) == safetensors_bytes(module)


def test_a_file_or_folder_that_was_named_is_as_large_as_it_is(tmp_path: Path) -> None:
    small_clip(tmp_path / "clip")
    size = sum(file.stat().st_size for file in (tmp_path / "clip").glob("*.safetensors"))
    assert stored_bytes(Source("file", str(tmp_path / "clip"))) == size > 0
    (tmp_path / "m.pt").write_bytes(b"x" * 123)
    assert stored_bytes(Source("file", str(tmp_path / "m.pt"))) == 123
    (tmp_path / "m.yaml").write_text("nc: 80")
    assert stored_bytes(Source("file", str(tmp_path / "m.yaml"))) is None
    assert stored_bytes(Source()) is None


COMPILED = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.calls = 0
    def forward(self, x):
        return self.linear(x)

def net():
    def make_inputs(batch, imgsz, g):
        return torch.rand(SHAPE, 8, generator=g)

    return torch.compile(Net(), backend="eager", dynamic=False), make_inputs
"""


def test_compile_time_is_reported_and_the_model_counted_eagerly(
    run: Run, saved: Saved, project: pytest.Pytester
) -> None:
    project.makepyfile(compiled=COMPILED.replace("SHAPE", "batch"))
    arguments = ("-k", "custom", "--model=compiled.py:net", "--batch=2", "--iters=5", "--benchmark-json=out.json")
    run(*arguments).assert_outcomes(passed=1)
    info = info_of(saved)
    assert 0 < info["compile_s"] <= info["first_call_ms"] / 1e3
    assert (info["params"], info["gflops"]) == (72, 2 * 2 * 64 / 1e9)
    assert (info["mfu"], info["mbu"], info["bound"]) == (None, None, None)  # nobody counts what compiled code moves
    assert "compile" not in " ".join(note for note in info["notes"] if note.startswith("compile_s"))


@pytest.mark.slow
def test_a_recompile_within_the_timed_rounds_fails_the_case(run: Run, project: pytest.Pytester) -> None:
    torch._dynamo.reset()
    grows = COMPILED.replace("SHAPE", "int(torch.randint(2, 60, (1,), generator=g))")
    project.makepyfile(growing=grows)
    result = run("-k", "custom", "--model=growing.py:net", "--batch=2", "--warmup=1", "--iters=7")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*net: forward was compiled anew * times within the timed rounds*mark_dynamic*"])
    no_traceback(result)


def test_nothing_compiled_is_said(run: Run, saved: Saved) -> None:
    run(*OWN, "--benchmark-json=out.json").assert_outcomes(passed=1)
    info = info_of(saved)
    assert info["compile_s"] is None
    assert "compile_s: nothing was compiled" in info["notes"]


def test_the_watch_forgets_nothing_and_leaves_no_callback_behind() -> None:
    import torch._dynamo as dynamo

    before = len(dynamo.callback_handler.start_callbacks)
    watch = CompileWatch()
    compiled = torch.compile(nn.Linear(3, 3), backend="eager")
    compiled(torch.zeros(2, 3))
    watch.begin_timed()
    compiled(torch.zeros(2, 3))
    watch.end_timed()
    watch.stop()
    assert (watch.count, watch.timed) == (1, 0)
    assert len(dynamo.callback_handler.start_callbacks) == before


RANDOM = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(1, 1)
        self.calls = 0
    def forward(self, pixels):
        self.calls += 1
        return torch.full((2,), 5.0) + 0.25 * (self.calls % 2)

def net():
    return Net()
"""


def test_agreement_of_repeated_calls(run: Run, saved: Saved, project: pytest.Pytester) -> None:
    run(*OWN, "--benchmark-json=out.json").assert_outcomes(passed=1)
    assert info_of(saved)["output_max_abs_diff"] == 0.0
    project.makepyfile(wavering=RANDOM)
    run("-k", "custom", "--model=wavering.py:net", "--batch=1", "--benchmark-json=out.json").assert_outcomes(passed=1)
    assert info_of(saved)["output_max_abs_diff"] == 0.25


def test_outputs_of_other_shapes_have_no_difference() -> None:
    assert output.max_abs_diff(torch.zeros(2), torch.zeros(3)) is None
    assert (
        output.max_abs_diff({"a": torch.ones(2), "b": (torch.zeros(1),)}, {"a": torch.ones(2), "b": (torch.ones(1),)})
        == 1.0
    )


def test_modules_are_printed_and_saved_on_request(run: Run, saved: Saved) -> None:
    result = run(*OWN, "--per-layer", "--benchmark-json=out.json")
    result.stdout.fnmatch_lines(["by module: forward net fp32 b1 224", "convolution *Conv2d *112 *", "sum *112 *"])
    info = info_of(saved)
    assert sum(layer["params"] for layer in info["layers"]) == info["params"]
    assert sum(layer["macs"] for layer in info["layers"]) == info["gmacs"] * 1e9
    run(*OWN, "--benchmark-json=out.json")
    assert info_of(saved)["layers"] == []


def test_utilisation_and_energy_on_request(run: Run, saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fixtures.measure.extras._UTILIZATION_S", 0.3)
    result = run(*OWN, "--utilization", "--energy", "--benchmark-json=out.json")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*cpu_util_percent*", "*energy_* RAPL *"])
    info = info_of(saved)
    assert 0 < info["cpu_util_percent"] <= 110
    assert info["energy_per_batch_mj"] is None
    assert any(re.match(r"energy_\*, power_\*, samples_per_joule: .*RAPL", note) for note in info["notes"])


@pytest.mark.slow
def test_utilisation_is_of_the_cores_that_may_be_used(run: Run, saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    used = iter([SimpleNamespace(user=1.0, system=0.5), SimpleNamespace(user=1.75, system=0.75)])
    process = SimpleNamespace(cpu_times=lambda: next(used))
    monkeypatch.setattr("fixtures.measure.extras.psutil", SimpleNamespace(Process=lambda: process))
    monkeypatch.setattr(Repeated, "run", lambda *_: SimpleNamespace(calls=10, seconds=1.0))
    run(*OWN, "--utilization", "--threads=2", "--benchmark-json=out.json").assert_outcomes(passed=1)
    assert info_of(saved)["cpu_util_percent"] == 50.0


def test_any_field_can_be_a_column_and_goes_into_the_csv(run: Run, project: pytest.Pytester) -> None:
    result = run(*OWN, "--columns=model_file_bytes,mfu,bound", "--record-csv=out.csv")
    result.stdout.fnmatch_lines(["*flags*bytes*mfu*bound*", "net *forward *608 *"])
    header, row = (project.path / "out.csv").read_text().splitlines()
    assert header.split(",")[-3:] == ["model_file_bytes", "mfu", "bound"]
    assert row.split(",")[-1] in ("memory", "compute")


def test_a_column_that_no_record_has_is_refused(run: Run) -> None:
    result = run(*OWN, "--columns=mffu")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--columns: no record has a field 'mffu'; did you mean mfu?*"])


def test_prices() -> None:
    assert parse_price("--p", "2.5:eur") == Price(2.5, "EUR")
    assert parse_price("--p", " .5 ") == Price(0.5, "USD")
    for text in ("-1", "0", "0:EUR", "free", "2.5:EURO", "1e3"):
        with pytest.raises(PriceError, match=r"--p: expected a price above 0.*for example 2.5:EUR"):
            parse_price("--p", text)
    assert money(None, 10.0, []) == [absent(Money)]
    (found,) = money(Price(3.6, "USD"), 10.0, [Window(qps_window_per_s=20.0)])
    assert isinstance(found, Money)
    assert (found.cost_per_1000, found.cost_per_million) == (pytest.approx(0.05), pytest.approx(50.0))
    assert found.best_cost_per_1000 is None


@pytest.mark.parametrize(
    ("rate_per_s", "served", "best", "machines"),
    [(None, 10.0, None, None), (9.0, 10.0, None, 1), (10.0, 10.0, None, 1), (10.5, 10.0, None, 2), (250, 10, 40.0, 7)],
)
def test_a_day_is_of_the_machines_that_the_asked_rate_takes(
    rate_per_s: float | None, served: float, best: float | None, machines: int | None
) -> None:
    """It was 24 times the price of an hour for every model, however slow."""
    searched = [] if best is None else [BestBatch(best_throughput_per_s=best)]
    (found,) = money(Price(2.0, "EUR"), served, searched, rate_per_s)
    assert isinstance(found, Money)
    assert (found.machines_needed, found.cost_per_day) == (machines, 48.0 * (machines or 1))
    assert found.rate_per_s == rate_per_s


def test_a_rate_is_asked_of_a_whole_run(run: Run, saved: Saved) -> None:
    result = run(*OWN, "--price-per-hour=1:EUR", "--rate=1e9", "--benchmark-json=out.json")
    info = info_of(saved)
    assert info["machines_needed"] == math.ceil(1e9 / info["throughput_mean_per_s"]) > 1
    assert info["cost_per_day"] == 24 * info["machines_needed"]
    result.stdout.fnmatch_lines(["*machines_needed*"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--price-per-hour=-2",), "--price-per-hour: expected a price above 0*"),
        (("--rate=5",), "--rate: says what its machines cost; give --price-per-hour too, or --machine"),
        (("--rate=many", "--price-per-hour=2"), "--rate: expected a number of samples a second above 0, got 'many'"),
        (("--rate=0", "--price-per-hour=2"), "--rate: expected a number of samples a second above 0, got '0'"),
        (("--rate=inf", "--price-per-hour=2"), "--rate: expected a number of samples a second above 0, got 'inf'"),
    ],
)
def test_a_price_or_a_rate_that_means_nothing_is_a_usage_error(run: Run, options: tuple[str, ...], said: str) -> None:
    result = run(*OWN, *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {said}"])
    no_traceback(result)


def test_new_fields_can_be_gated(run: Run, project: pytest.Pytester) -> None:
    assert run(*OWN, "--gate=model_file_bytes<=1e6", "--gate=mfu>=0").ret == 0
    assert run(*OWN, "--gate=model_file_bytes<=10").ret == 1
