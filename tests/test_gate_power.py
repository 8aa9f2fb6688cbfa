"""`make gate-power`: its plan, what it plants, and what its runs come to."""

from __future__ import annotations

import runpy
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from fixtures.record.record import Record
from tools import gate_power, power_models
from tools.gate_power import MODELS, SIZES, Planned, Run, Side, Trials, missing, plan, write_models
from tools.gate_power_table import judged, markdown


def test_every_size_is_planted_in_every_model_and_one_model_is_left_alone() -> None:
    planted = [one.planted for one in plan(6) if one.kind == "slower" and one.mode == "saved"]
    assert all(len(each) == len(SIZES) == len(MODELS) - 1 for each in planted)
    where = Counter((model, size) for each in planted for model, size in each.items())
    assert where == Counter({(model, size): 1 for model in MODELS for size in SIZES})


def test_an_interrupted_series_goes_on_where_it_was() -> None:
    whole = plan(2)
    assert len(whole) == 9
    trials = Trials({}, {}, {}, [Run("saved", "same", 0, {}, 50.0, 0.0, {})])
    assert list(missing(trials, whole)) == whole[1:]
    assert whole[0] == Planned("saved", "same", 0)


def test_what_is_written_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_power, "RESULT", tmp_path / "gate-power.json")
    runs = [Run("saved", "same", trial, {}, 50.0, 0.0, {"resnet18": side(10.0, 5)}) for trial in (0, 1)]
    trials = Trials({"cpu_name": "AMD"}, {"saved": "pytest"}, {}, runs)
    gate_power._write(trials)
    assert gate_power.read() == trials
    assert len((tmp_path / "gate-power.json").read_text().splitlines()) == 7  # each run a line


def test_the_copy_of_the_model_file_slows_what_it_says(tmp_path: Path) -> None:
    write_models(tmp_path / "head", {"resnet18": 0.03})
    assert runpy.run_path(str(tmp_path / "head" / "models.py"))["SLOWER"] == {"resnet18": 0.03}


def test_a_slowed_call_takes_its_share_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0

    class Net(nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            nonlocal now_s
            now_s += 1.0
            return pixels

    def perf_counter() -> float:
        nonlocal now_s
        now_s += 0.001
        return now_s

    monkeypatch.setattr(power_models.time, "perf_counter", perf_counter)
    power_models.Slowed(Net(), 0.0)(torch.zeros(1))
    alone_s, now_s = now_s, 0.0
    power_models.Slowed(Net(), 0.5)(torch.zeros(1))
    assert now_s - alone_s == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_one_that_the_suite_can_measure(name: str) -> None:
    net, make_inputs = getattr(power_models, name)()
    with torch.inference_mode():
        output = net(make_inputs(1, 224, torch.Generator()))
    assert torch.isfinite(output).all()
    assert output.std() > 0


def side(ms: float, processes: int) -> Side:
    steady = {"canary_matmul_ms": [1.0] * processes, "canary_copy_ms": [2.0] * processes}
    return Side(ms, {"latency_p50_ms": [ms * (1 + 0.001 * (p % 3)) for p in range(processes)], **steady})


def replace_head(run: Run, head: dict[str, Side]) -> Run:
    return Run(run.mode, run.kind, run.trial, run.planted, run.seconds, run.finished, head)


def test_the_table_counts_what_was_named_and_what_was_planted(record: Record) -> None:
    def sides(processes: int, **slower: float) -> dict[str, Side]:
        return {model: side(10 * (1 + slower.get(model, 0.0)), processes) for model in MODELS}

    planted = Planned("saved", "slower", 0).planted
    runs = [
        Run("saved", "same", 0, {}, 50.0, 0.0, sides(5)),
        Run("saved", "slower", 0, planted, 50.0, 0.0, sides(5, **planted)),
        Run("saved", "same", 1, {}, 50.0, 0.0, sides(5, resnet18=0.4)),  # a false alarm
        Run("alternating", "same", 0, {}, 100.0, 0.0, sides(8), sides(8), {m: [1.0] * 8 for m in MODELS}),
        Run(
            "alternating",
            "slower",
            0,
            planted,
            110.0,
            0.0,
            sides(8, **planted),
            sides(8),
            {m: [1 + planted.get(m, 0.0)] * 8 for m in MODELS},
        ),
    ]
    template = replace(record).extra_info()
    trials = Trials({}, {}, dict.fromkeys(MODELS, template), runs)
    assert [trial.mode for trial in judged(trials)] == ["saved", "saved", "alternating", "alternating"]
    table = markdown(trials)
    assert "| alternating | same code: runs with a false alarm | 0 of 1 (0 to 98 %) | 0 of 1 (0 to 98 %) |" in table
    assert "| alternating | same code: verdicts that are a plain pass | 6 of 6 (54 to 100 %) | – |" in table
    assert "| alternating | +5 % found | 1 of 1 (3 to 100 %)" in table
    assert "| alternating | +1 % found | 0 of 1 (0 to 98 %)" in table
    assert "| saved | same code: runs with a false alarm | 1 of 1 (3 to 100 %) | 1 of 1 (3 to 100 %) |" in table
    assert "| saved | +10 % found | 0 of 1 (0 to 98 %)" in table  # runs may differ by as much
    assert "| saved | runs that name a model nothing was planted in | 0 of 1 (0 to 98 %)" in table
    (untouched,) = set(MODELS) - planted.keys()
    astray = replace_head(runs[1], sides(5, **planted, **{untouched: 0.5}))
    strayed = markdown(Trials({}, {}, dict.fromkeys(MODELS, template), [runs[0], astray]))
    assert "| saved | runs that name a model nothing was planted in | 1 of 1 (3 to 100 %)" in strayed
    assert "| alternating | seconds a run of six models, median (most) | 105 (110) | |" in table
