"""Files for other tools, read as those tools read them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fixtures.models.yolo import import_ultralytics
from fixtures.record.record import Record
from fixtures.record.saved import read_saved
from fixtures.report.__main__ import main
from fixtures.report.contents import contents
from tests.conftest import ROOT, Run
from tests.record import RECORD
from tests.saved import H200, detectors, save, timed


def exported(tmp_path: Path, form: str, records: list[Record]) -> Path:
    save(tmp_path / "run.json", records)
    assert main([str(tmp_path / "run.json"), f"--export={form}={tmp_path / 'out'}"]) == 0
    return tmp_path / "out"


def test_one_case_of_a_model_is_one_file_in_the_exchange_layout(tmp_path: Path) -> None:
    record = replace(timed(10.0), peak_device_allocated_bytes=3 * 2**20, device_allocated_bytes=2**20)
    out = exported(tmp_path, "bench", [record])
    assert [str(file.relative_to(out)) for file in out.rglob("*.json")] == ["net.json"]
    assert json.loads((out / "net.json").read_text()) == {
        "metadata": {
            "model_name": "net",
            "weights": "random:42",
            "imgsz": 224,
            "batch": 8,
            "device": "cpu",
            "warmup": 3,
            "iters": 100,
            "timestamp": "2026-11-20T13:22:24+00:00",
            "benchmark_list": "results/inputs/synthetic-200-42.json",
            "benchmark_size": 200,
        },
        "model_complexity": {"params": 25_557_032, "params_M": 25.557032, "gflops": 8.0},
        "latency": {
            "mean_ms": 10.1,
            "median_ms": 10.0,
            "p50_ms": 10.0,
            "p95_ms": 12.0,
            "p99_ms": None,
            "std_ms": 0.5,
            "min_ms": 9.0,
            "max_ms": 15.0,
        },
        "throughput": {"fps_mean": pytest.approx(8000 / 10.1), "fps_p50": 800.0},
        "memory": {"peak_gpu_mem_MB": 3.0, "allocated_MB": 1.0, "reserved_MB": None},
    }


def test_every_model_has_its_file_and_further_cases_lie_beside_it(tmp_path: Path) -> None:
    out = exported(tmp_path, "bench", detectors())
    assert sorted(str(file.relative_to(out)) for file in out.rglob("*.json")) == [
        "fast.json",
        "fast/forward-fp32-b8-640.json",
        "small.json",
        "worse.json",
    ]
    assert json.loads((out / "fast.json").read_text())["metadata"]["batch"] == 1


def test_the_file_of_a_model_is_of_its_forward_pass_as_the_baseline_at_its_own_size(tmp_path: Path) -> None:
    """With the default batches no model had one, and with --images the layout changed."""
    main = timed(10.0, model="a", batch=2, imgsz=640, imgsz_native=640)
    others = [
        timed(80.0, main, batch=8, gflops=32.0),
        timed(4.0, main, imgsz=320, gflops=2.0),
        timed(40.0, main, imgsz=1280, gflops=32.0),
        timed(5.0, main, batch=1, precision="int8", baseline="fp32-eager", gflops=4.0),
        timed(6.0, main, batch=1, precision="bf16", gflops=4.0),
        timed(1.0, main, batch=1, workload="preprocess", gflops=0.0, params=None),
        timed(2.0, main, batch=1, workload="nms", gflops=0.0),
        timed(9.0, main, batch=1, workload="window", gflops=4.0),
    ]
    for order in (others, others[::-1]):
        out = exported(tmp_path, "bench", [*order, main])
        content = json.loads((out / "a.json").read_text())
        assert (content["latency"]["p50_ms"], content["metadata"]["batch"]) == (10.0, 2)
        assert len(list((out / "a").iterdir())) == 8


def test_without_a_forward_pass_it_is_of_what_does_the_most_work(tmp_path: Path) -> None:
    parts = [("image_encoder", 1, 8.8), ("similarity", 8, 118.2), ("similarity", 1, 14.775), ("text_encoder", 1, 6.0)]
    records = [timed(10.0, model="clip", workload=name, batch=batch, gflops=work) for name, batch, work in parts]
    out = exported(tmp_path, "bench", records)
    content = json.loads((out / "clip.json").read_text())
    assert (content["model_complexity"]["gflops"], content["metadata"]["batch"]) == (14.775, 1)


@pytest.mark.slow
def test_the_ten_lines_of_the_docs_read_a_sweep_of_six_weights(
    project: pytest.Pytester, run: Run, photos: Path
) -> None:
    """By the default batches, with images of one's own and without: nothing changes in the script."""
    lines = (ROOT / "docs" / "reports.md").read_text().partition("```python\n")[2].partition("```")[0]
    (project.path / "read.py").write_text("import matplotlib\nmatplotlib.use('agg')\n" + lines)
    for index in range(6):
        weights = project.path / "runs" / f"ablation{index}" / "weights"
        weights.mkdir(parents=True)
        torch.manual_seed(index)
        detector = import_ultralytics().YOLO(("yolov8n.yaml", "yolo11n.yaml")[index % 2]).model
        torch.save({"model": detector, "train_args": {}, "epoch": -1}, weights / "best.pt")
    tables = []
    for images in ((), (f"--images={photos}",)):
        arguments = ("-k", "yolo", "--weights=runs/*/weights/best.pt", "--imgsz=64", "--iters=3", "--warmup=1")
        result = run(*arguments, "--export=bench", *images)
        assert result.ret == 0
        script = subprocess.run([sys.executable, "read.py"], cwd=project.path, capture_output=True, text=True)
        assert script.returncode == 0, script.stderr
        rows = [line.split(" | ")[:3] for line in script.stdout.splitlines()]
        assert (project.path / "params-latency.png").is_file()
        assert [row[0] for row in rows[2:]] == [f"| ablation{index}" for index in (1, 3, 5, 0, 2, 4)]
        tables.append(rows)
    assert tables[0] == tables[1]
    assert len(list((project.path / "results" / "bench" / "ablation0").iterdir())) > 2


def test_names_from_outside_lead_nowhere_and_clash_nowhere(tmp_path: Path) -> None:
    names = ["../../x", "x", "X", "<script>", "/etc/passwd"]
    out = exported(tmp_path, "bench", [timed(10.0, model=name) for name in names])
    files = sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.json"))
    assert files == ["out/X~2.json", "out/etc-passwd.json", "out/script.json", "out/x.json", "out/x~3.json", "run.json"]
    assert {json.loads(file.read_text())["metadata"]["model_name"] for file in out.iterdir()} == set(names)


def test_github_action_benchmark_gets_smaller_is_better(tmp_path: Path) -> None:
    rows = json.loads(exported(tmp_path, "github-action-benchmark", detectors()).read_text())
    assert [set(row) for row in rows] == [{"name", "unit", "value", "range", "extra"}] * 4
    assert (rows[0]["name"], rows[0]["unit"], rows[0]["value"]) == ("forward small fp32 b1 640", "ms", 40.0)
    low, high = contents([read_saved(tmp_path / "run.json")]).cases[0].interval_ms or (0, 0)
    assert float(rows[0]["range"].removeprefix("± ")) == pytest.approx((high - low) / 2, rel=1e-3)
    assert rows[0]["extra"] == "p50 of 100 rounds, 25 images/s"
    assert len({row["name"] for row in rows}) == 4


def test_bencher_gets_nanoseconds_with_bounds(tmp_path: Path) -> None:
    found = json.loads(exported(tmp_path, "bencher", detectors()).read_text())
    latency = found["forward small fp32 b1 640"]["latency"]
    assert latency["value"] == 40e6
    assert 0.9 * 40e6 < latency["lower_value"] < 40e6 < latency["upper_value"] < 1.1 * 40e6
    assert found["forward small fp32 b1 640"]["throughput"] == {"value": 25.0}
    assert found["forward small fp32 b1 640"]["peak-memory"] == {"value": float(RECORD.peak_host_bytes)}


def test_cases_of_several_machines_are_kept_apart(tmp_path: Path) -> None:
    # Two cases of one name: their ids differ in something that the name does not say.
    pair = [replace(detectors()[0], family=family) for family in ("yolo", "custom")]
    save(tmp_path / "cpu.json", pair)
    on_gpu = [replace(r, device="cuda:0", device_name="NVIDIA H200", peak_device_allocated_bytes=2**20) for r in pair]
    save(tmp_path / "gpu.json", on_gpu, machine=H200)
    runs = [str(tmp_path / "cpu.json"), str(tmp_path / "gpu.json")]
    for form in ("bencher", "github-action-benchmark", "bench"):
        assert main([*runs, f"--export={form}={tmp_path / form}"]) == 0
    names = [row["name"] for row in json.loads((tmp_path / "github-action-benchmark").read_text())]
    assert len(set(names)) == 4
    assert sum(name.endswith("(AMD EPYC)") for name in names) == 2
    assert set(json.loads((tmp_path / "bencher").read_text())) == set(names)
    memory = {
        str(path.relative_to(tmp_path / "bench")): json.loads(path.read_text())["memory"]["peak_gpu_mem_MB"]
        for path in (tmp_path / "bench").rglob("*.json")
    }
    assert {name.removeprefix("small/"): peak for name, peak in memory.items()} == {
        "small.json": None,
        "forward-fp32-b1-640-AMD-EPYC.json": None,
        "forward-fp32-b1-640-NVIDIA-H200.json": 1.0,
        "forward-fp32-b1-640-NVIDIA-H200~2.json": 1.0,
    }


def test_somebodys_file_of_a_models_name_stays(tmp_path: Path) -> None:
    out = exported(tmp_path, "bench", detectors()[:2])
    exported(tmp_path, "bench", detectors()[1:])  # one of its own is written again
    (out / "fast.json").write_text('{"mine": 1}')
    assert main([str(tmp_path / "run.json"), f"--export=bench={out}"]) == 2
    assert (out / "fast.json").read_text() == '{"mine": 1}'


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_an_unknown_format_says_which_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "run.json", detectors())
    for text in ("xml", "csv="):
        assert main([str(tmp_path / "run.json"), f"--export={text}"]) == 2
        assert f"a format of bench, bencher, csv, github-action-benchmark, got {text!r}" in capsys.readouterr().err


def test_an_export_writes_no_report_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "run.json", detectors())
    monkeypatch.chdir(tmp_path)
    assert main(["run.json", "--export=csv", "--export=bencher"]) == 0
    assert sorted(file.name for file in (tmp_path / "results").iterdir()) == ["bencher.json", "records.csv"]
    assert main(["run.json", "--export=csv", "--out=report"]) == 0
    assert (tmp_path / "report" / "report.html").is_file()


def test_weights_of_the_users_are_named_by_their_path_with_the_digest_beside(tmp_path: Path) -> None:
    """`file:best.pt:…` stood there for each of six ablations."""
    record = replace(timed(10.0), weights="file:best.pt:0123456789ab", weights_path="runs/ghost/weights/best.pt")
    metadata = json.loads((exported(tmp_path, "bench", [record]) / "net.json").read_text())["metadata"]
    assert (metadata["weights"], metadata["weights_digest"]) == ("runs/ghost/weights/best.pt", "0123456789ab")
