"""Two machines are one only where processor, instructions, cores and GPU are the same kind; one definition for all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fixtures import gate
from fixtures.devices.cpu import Cpu
from fixtures.devices.host import processor
from fixtures.judge.comparison import compare
from fixtures.measure import peaks
from fixtures.measure.peaks import Peaks, known_peaks
from fixtures.record.identity import environment_of, key_of, labels, merged
from fixtures.record.machines import Machine
from fixtures.record.saved import SavedRun, read_saved
from fixtures.report.contents import contents
from fixtures.report.overview import flags
from fixtures.report.sides import compared, runs
from tests.conftest import ROOT
from tests.record import RECORD
from tests.saved import H200, MACHINE, case_id, detectors, save, timed
from tests.test_history import series_in

FLAGS = ["avx", "avx2", "fma", "avx512f", "avx512_vnni"]
GENOA = {**MACHINE, "cpu": {"family": 25, "model": 17, "stepping": 1, "flags": [*FLAGS, "avx512_bf16"]}}
# The same marketing name, the same cores.
ROME = {**MACHINE, "cpu": {"family": 23, "model": 49, "stepping": 0, "flags": ["avx", "avx2", "fma"]}}


def cpu(**changes: Any) -> dict[str, Any]:
    return {**GENOA, "cpu": {**GENOA["cpu"], **changes}}


def two(tmp_path: Path, base: dict[str, Any], head: dict[str, Any], **changes: Any) -> tuple[SavedRun, SavedRun]:
    record = replace(timed(10.0), **changes)
    paths = (
        save(tmp_path / "base.json", [record], machine=base, taken="2026-11-19T00:00:00+00:00"),
        save(tmp_path / "head.json", [timed(1000.0, record)], machine=head),
    )
    return read_saved(paths[0]), read_saved(paths[1])


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (ROME, "cpu_family 25 -> 23"),
        (cpu(model=18), "cpu_model 17 -> 18"),
        (cpu(stepping=2), "cpu_stepping 1 -> 2"),
        (cpu(flags=FLAGS), "cpu_features -avx512bf16"),
        (cpu(flags=[*GENOA["cpu"]["flags"], "amx_tile"]), "cpu_features +amxtile"),
        ({**GENOA, "cores_allowed": 4}, "cores 2 -> 4"),
    ],
)
def test_another_processor_of_the_same_name_is_compared_nowhere(tmp_path: Path, other: Any, said: str) -> None:
    base, head = two(tmp_path, GENOA, other)
    (verdict,) = compared(base, head).verdicts
    assert verdict.status == "invalid"
    assert said in verdict.why
    found = compare(head.records, head.stats, [base], [], environment=head.environment)
    assert said in "; ".join(found.refused[case_id(RECORD)])
    report = contents([base, head])
    assert len({machine.label for machine in report.machines}) == 2
    assert "No two of these runs share a case on the same machine" in runs(report).lines[0]
    series = series_in(tmp_path)
    assert [len(each.values) for each in series] == [1, 1]
    assert len({each.machine for each in series}) == 2


def test_the_same_kind_of_processor_is_one_machine_however_its_flags_are_spelt(tmp_path: Path) -> None:
    flags = [flag.replace("_", "") for flag in GENOA["cpu"]["flags"]]
    base, head = two(tmp_path, GENOA, cpu(flags=[*flags, "tsc_adjust", "smep"]))
    assert compared(base, head).verdicts[0].status == "regression"
    assert len(contents([base, head]).machines) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"gpu_memory_bytes": 70 * 2**30}, "gpu_memory 140 GiB -> 70 GiB"), ({"gpu_capability": "9.1"}, "9.0 -> 9.1")],
)
def test_gpus_are_told_apart_by_memory_and_capability_and_not_by_card(tmp_path: Path, changes: Any, said: str) -> None:
    on_gpu = {"device": "cuda:0", "device_name": "NVIDIA H200"}
    card = {**H200, "cpu": GENOA["cpu"], "gpu_capability": "9.0"}
    base, head = two(tmp_path, card, {**card, **changes}, **on_gpu)
    assert said in compared(base, head).verdicts[0].why
    base, head = two(tmp_path, card, {**card, "gpu_uuid": "GPU-of-another-card"}, **on_gpu)
    assert compared(base, head).verdicts[0].status == "regression"
    assert [machine.label for machine in contents([base, head]).machines] == ["NVIDIA H200"]


def test_what_a_file_does_not_tell_is_compared_with_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, head = two(tmp_path, MACHINE, GENOA)
    assert gate.main([str(base.path), str(head.path)]) == 1
    note = "not compared, since one side does not tell: cpu_family, cpu_model, cpu_stepping, cpu_features"
    assert note in " ".join(capsys.readouterr().out.split())
    report = contents([base, head])
    assert [machine.label for machine in report.machines] == ["AMD EPYC"]
    remark = "base does not tell cpu_family, cpu_model, cpu_stepping, cpu_features"
    assert any(remark in row[0] for _, shown in flags(report).tables for row in shown.rows)
    assert [each.values for each in series_in(tmp_path)] == [(10.0, 1000.0)]


def test_of_two_machines_that_a_file_may_be_of_it_is_neither() -> None:
    told = [key_of("cpu", "AMD EPYC", machine) for machine in (GENOA, ROME)]
    vague = key_of("cpu", "AMD EPYC", MACHINE)
    assert merged([vague, *told]) == {key: key for key in (vague, *told)}
    assert merged([vague, told[0]])[vague] == told[0]
    assert list(labels([vague, *told]).values()) == [
        "AMD EPYC (family unknown, model unknown, stepping unknown)",
        "AMD EPYC (family 25, model 17, stepping 1)",
        "AMD EPYC (family 23, model 49, stepping 0)",
    ]


@pytest.mark.parametrize("info", [{}, {"cpu": None}, {"cpu": "x", "versions": []}, {"cpu": {"flags": "avx"}}])
def test_a_file_that_tells_nothing_is_read(info: Any) -> None:
    assert set(environment_of(info).values()) == {None}


def test_the_kernel_tells_the_processor_on_x86_and_on_arm(tmp_path: Path) -> None:
    (tmp_path / "x86").write_text(
        "vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\nstepping\t: 1\n"
        "flags\t\t: fpu avx avx512_bf16\n\ncpu family\t: 25\nmodel\t\t: 17\nflags\t\t: fpu avx avx512_bf16\n"
    )
    assert processor(tmp_path / "x86") == {
        "family": 25,
        "model": 17,
        "stepping": 1,
        "flags": ["avx", "avx512_bf16", "fpu"],
    }
    core = "Features\t: fp asimd sve\nCPU implementer\t: 0x41\nCPU variant\t: 0x1\nCPU part\t: {}\nCPU revision\t: 1\n"
    (tmp_path / "arm").write_text(core.format("0xd40") + core.format("0xd05").replace(" sve", ""))
    told = processor(tmp_path / "arm")
    assert (told["family"], told["model"], told["stepping"]) == ("0x41", "0xd40/0xd05", "0x1/1")
    assert told["flags"] == ["asimd", "fp"]
    assert processor(tmp_path / "absent") == {}


def test_peaks_of_another_processor_are_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = iter([Peaks(1.0, 1.0), Peaks(1.0, 1.0), Peaks(2.0, 2.0), Peaks(2.0, 2.0)])  # until two agree
    monkeypatch.setattr(peaks, "measure_peaks", lambda *_: next(found))
    seen = []
    for machine in (GENOA, ROME, GENOA):
        monkeypatch.setattr(peaks, "processor", lambda machine=machine: machine["cpu"])
        seen.append(known_peaks(Cpu(), "fp32", torch.float32, 1, tmp_path).gflops_per_s)
    assert seen == [1.0, 2.0, 1.0]


def test_the_committed_baselines_tell_what_their_machines_are() -> None:
    for name in ("0001_cpu-amd-epyc_torch2.14.1_20261128", "0002_cpu-intel-xeon_torch2.14.1_20261121"):
        info = json.loads((ROOT / "results" / f"{name}.json").read_text())["machine_info"]
        told = environment_of(info)
        assert all(told[part] for part in ("cpu_family", "cpu_model", "cpu_stepping", "cpu_features", "cores"))


def test_steps_are_part_of_what_has_to_be_equal(tmp_path: Path) -> None:
    small = detectors()[0]
    paths = [
        save(tmp_path / f"{steps}.json", [replace(timed(ms, small), steps=steps)], machine=GENOA)
        for steps, ms in ((20, 40.0), (10, 20.0))
    ]
    (verdict,) = compared(*map(read_saved, paths)).verdicts
    assert (verdict.status, verdict.why) == (
        "invalid",
        "steps 20 -> 10; --allow-different=steps compares them all the same",
    )


def test_a_chart_of_one_of_two_namesakes_says_which_it_is_of() -> None:
    machine = Machine((), "AMD EPYC (family 25, model 17)", "AMD EPYC, 2 cores", "", ("2026-11-26", "2026-11-26"))
    assert machine.caption == "AMD EPYC (family 25, model 17): AMD EPYC, 2 cores; 2026-11-26"
    assert replace(machine, label="AMD EPYC").caption == "AMD EPYC, 2 cores; 2026-11-26"
