"""Whole runs on tiny models, as a user would type them: what is measured, saved and shown."""

from __future__ import annotations

import gc
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from fixtures.measure import case
from fixtures.measure.complexity import Cost
from fixtures.models.custom import Custom
from fixtures.record.notes import Note
from tests.conftest import OWN, Run, Saved
from tests.test_record import CONTRACT
from tests.tiny import small_clip


def test_a_run_measures_saves_and_shows(run: Run, saved: Saved) -> None:
    result = run(*OWN, "--model=tiny.py:five", "--batch=1,2", "--benchmark-json=out.json", "--record-csv=out.csv")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["models: device=cpu threads=1*", "net * forward *", "five *", "*Wrote the table*"])
    benchmarks = saved()
    assert set(benchmarks) == {f"test_forward[{name}-fp32-b{b}-224]" for name in ("net", "five") for b in (1, 2)}
    for benchmark in benchmarks.values():
        info = benchmark["extra_info"]
        assert set(CONTRACT) <= set(info)
        explained = " ".join(info["notes"])
        for field in (field for field in CONTRACT if info[field] is None):
            assert field in explained or "device_" in field, f"{field} is null and no note says why"
        assert len(benchmark["stats"]["data"]) == info["iters"] >= 3
        assert benchmark["params"]["batch"] == info["batch"]
    assert len(Path("out.csv").read_text().splitlines()) == 5


def test_five_inputs_of_different_types_are_passed_and_counted(run: Run, saved: Saved) -> None:
    run("-k", "custom", "--model=tiny.py:five", "--batch=2", "--benchmark-json=out.json").assert_outcomes(passed=1)
    info = saved()["test_forward[five-fp32-b2-224]"]["extra_info"]
    assert (info["params"], info["gflops"]) == (100 * 8 + 8 * 16 + 16, 2 * 2 * 12 * 8 * 16 / 1e9)
    assert (info["inputs_count"], info["inputs_list"]) == (16, None)


def test_two_runs_have_the_same_inputs_and_outputs(run: Run, saved: Saved) -> None:
    seen = []
    for _ in range(2):
        run(*OWN, "--benchmark-json=out.json").assert_outcomes(passed=1)
        info = saved()["test_forward[net-fp32-b1-224]"]["extra_info"]
        seen.append((info["inputs_digest"], info["output_digest"], info["weights"]))
    assert seen[0] == seen[1]


def test_rounds_given_are_exact(run: Run, saved: Saved) -> None:
    run(*OWN, "--warmup=2", "--iters=7", "--benchmark-json=out.json").assert_outcomes(passed=1)
    benchmark = saved()["test_forward[net-fp32-b1-224]"]
    assert (benchmark["extra_info"]["warmup"], benchmark["extra_info"]["iters"]) == (2, 7)
    assert len(benchmark["stats"]["data"]) == 7


CLOCKED = """
import torch
from torch import nn

now_s = 0.0
def clock():
    return now_s
def spend(seconds):
    global now_s
    now_s += seconds

class Net(nn.Module):
    def forward(self, x):
        spend(0.25)
        return x
"""
TAKES_TIME = """
import clocked
from fixtures.models import custom
preprocess = custom.Custom.preprocess
def slow(self, images, imgsz):
    clocked.spend(100.0)
    return preprocess(self, images, imgsz)
custom.Custom.preprocess = slow
def net():
    return clocked.Net()
"""


@pytest.mark.slow
def test_only_the_call_is_timed(project: pytest.Pytester, saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake clock that both preparing an input and the call advance: samples hold the call alone."""
    project.makepyfile(clocked=CLOCKED, mine=TAKES_TIME)
    monkeypatch.setenv("PYTHONPATH", str(project.path))
    project.makeconftest("from fixtures.devices.cpu import Cpu\nCpu.timer = 'clocked.clock'\n")
    result = project.runpytest_subprocess(
        "benchmarks", "-k", "custom", "--model=mine.py:net", "--batch=1", "--iters=4", "--benchmark-json=out.json"
    )
    result.assert_outcomes(passed=1)
    assert saved()["test_forward[net-fp32-b1-224]"]["stats"]["data"] == [0.25] * 4


def test_collection_imports_no_framework(project: pytest.Pytester) -> None:
    project.makeconftest(
        "import sys\ndef pytest_collection_finish():\n"
        "    print('HEAVY', sorted({'torch', 'transformers', 'ultralytics', 'torchvision'} & set(sys.modules)))\n"
    )
    result = project.runpytest_subprocess("benchmarks", "--collect-only", "-q", "-s", "--all-models")
    result.stdout.fnmatch_lines(["HEAVY []"])


def test_ids_read_aloud_and_models_stay_together(run: Run) -> None:
    result = run("--collect-only", "-q", "-k", "clip or yolov8n", "--precision=fp32,bf16", "--batch=8")
    ids = [line for line in result.outlines if "::" in line]
    assert "benchmarks/test_clip.py::test_image_encoder[clip-vit-b32-fp32-b8-224]" in ids
    assert "benchmarks/test_clip.py::test_text_encoder[clip-vit-b32-fp32-b8]" in ids
    models = [line.partition("[")[2].partition("-b8")[0] for line in ids]
    changes = sum(before != after for before, after in pairwise(models))
    assert changes == len(set(models)) - 1


def test_a_folder_of_weights_is_measured_instead_of_the_built_in_models(
    project: pytest.Pytester, run: Run, saved: Saved
) -> None:
    small_clip(project.path / "mine")
    result = run("-k", "clip", "--weights=mine", "--batch=1", "--imgsz=32,48", "--benchmark-json=out.json")
    result.assert_outcomes(passed=5)
    info = saved()["test_image_encoder[mine-fp32-b1-48]"]["extra_info"]
    assert info["weights"].startswith("file:mine:")
    assert info["family"] == "clip"


def test_what_the_shell_makes_of_an_unquoted_glob_is_understood(project: pytest.Pytester, run: Run) -> None:
    for name in ("a", "b"):
        (project.path / f"{name}.pt").write_bytes(b"x")
    result = run("--collect-only", "-q", "-k", "test_forward", "--weights", "a.pt", "b.pt")
    result.stdout.fnmatch_lines(["*test_forward[[]a-fp32-b1-640]", "*test_forward[[]b-fp32-b1-640]"])


@pytest.mark.slow
def test_trained_yolo_is_split_into_stages_on_real_images_only(
    project: pytest.Pytester, run: Run, saved: Saved
) -> None:
    from PIL import Image

    from fixtures.models.yolo import import_ultralytics

    import_ultralytics().YOLO("yolov8n.yaml", verbose=False).save(str(project.path / "best.pt"))
    args = ("-k", "yolo", "--weights=mine=best.pt", "--batch=1", "--imgsz=64", "--iters=3")
    result = run(*args)
    result.assert_outcomes(passed=1, skipped=3)
    result.stdout.fnmatch_lines(["*how many boxes NMS sorts out depends on what the images show; give --images=DIR"])
    project.mkdir("photos")
    for index in range(4):
        Image.new("RGB", (80, 60), (index, 9, 200)).save(project.path / f"photos/{index}.png")
    run(*args, "--images", "photos", "--benchmark-json=out.json").assert_outcomes(passed=4)
    benchmarks = saved()
    stages = {f"test_{stage}[mine-fp32-b1-64]" for stage in ("forward", "preprocess", "nms", "end_to_end")}
    assert set(benchmarks) == stages
    info = benchmarks["test_forward[mine-fp32-b1-64]"]["extra_info"]
    assert (info["fused"], info["params"]) == (True, 3_157_200)
    assert (info["imgsz"], info["imgsz_native"]) == (64, 640)
    assert info["weights"].startswith("file:best.pt:")
    whole = benchmarks["test_end_to_end[mine-fp32-b1-64]"]["extra_info"]
    assert whole["gflops"] == info["gflops"]
    assert (whole["throughput_unit"], whole["inputs_digest"]) == ("images/s", info["inputs_digest"])


ECHO = """
import torch
from torch import nn

class Echo(nn.Module):
    def forward(self, x):
        return x, torch.tensor(float(torch.get_num_threads()))

def echo(): return Echo()
"""


def test_what_reaches_the_model_is_as_asked(
    project: pytest.Pytester, run: Run, saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads, values in [0, 1], and other images in every round; per-sample figures are per sample."""
    project.makepyfile(mine=ECHO)
    outputs: list[Any] = []
    forward = "fixtures.models.custom.Custom.forward"
    monkeypatch.setattr(forward, lambda self, *args: outputs.append(self.module(*args)) or outputs[-1])
    monkeypatch.setattr(
        "fixtures.measure.case.count", lambda *_: Cost(0, 0, 0, None, "not", (), note=Note(("gmacs", "gflops"), "not"))
    )
    args = ("-k", "custom", "--model=mine.py:echo", "--batch=2", "--imgsz=16", "--warmup=0", "--iters=2")
    run(*args, "--threads=3", "--benchmark-json=out.json").assert_outcomes(passed=1)
    assert {float(threads) for _, threads in outputs} == {3.0}
    # The last look at what is multiplied; the three before have not been seen before.
    pixels = [pixels for pixels, _ in outputs][:-4]
    assert all(0.5 < float(batch.max()) <= 1.0 and float(batch.min()) >= 0.0 for batch in pixels)
    assert torch.equal(pixels[0], pixels[1])  # first call and memory pass see the first batch
    assert not torch.equal(pixels[-2], pixels[-1])  # the set has two batches of two
    assert torch.equal(pixels[-2], pixels[0])
    info = saved()["test_forward[echo-fp32-b2-16]"]["extra_info"]
    assert info["threads"] == 3
    assert info["latency_per_sample_ms"] == info["latency_p50_ms"] / 2
    assert info["throughput_p50_per_s"] == pytest.approx(2e3 / info["latency_p50_ms"])


def test_the_garbage_collector_is_off_inside_timed_calls_only(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    forward = Custom.forward
    monkeypatch.setattr(Custom, "forward", lambda self, *args: (seen.append(gc.isenabled()), forward(self, *args))[1])
    monkeypatch.setattr(Custom.forward, "__name__", "forward")
    run(*OWN, "--iters=3", "--warmup=1").assert_outcomes(passed=1)
    # First call, memory pass; warm-up and three rounds; three inputs not seen before; the count, twice; the products.
    assert seen == [True, True, *[False] * 4, *[True] * 3, True, True, True]


def test_caches_are_dropped_before_memory_is_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr("fixtures.inputs.batches.ImageBatches.drop_caches", lambda self: order.append("drop"))
    measure = case.measure_memory
    monkeypatch.setattr(case, "measure_memory", lambda *args: order.append("memory") or measure(*args))
    run(*OWN, "--iters=3").assert_outcomes(passed=1)
    assert order == ["drop", "memory"]


@pytest.mark.parametrize(
    ("returned", "finite"),
    [("None", None), ("Out(x.mean())", True), ("'text'", None), ("{'a': [x.mean()]}", True), ("1.5", True)],
)
def test_outputs_of_any_type_are_looked_into(
    project: pytest.Pytester, run: Run, saved: Saved, returned: str, finite: bool | None
) -> None:
    project.makepyfile(
        mine="import dataclasses\nfrom torch import nn\n@dataclasses.dataclass\nclass Out:\n    logits: object\n"
        f"class Net(nn.Module):\n    def forward(self, x):\n        return {returned}\ndef net(): return Net()\n"
    )
    args = ("-k", "custom", "--model=mine.py:net", "--batch=1", "--iters=3", "--benchmark-json=out.json")
    run(*args).assert_outcomes(passed=1)
    info = saved()["test_forward[net-fp32-b1-224]"]["extra_info"]
    assert info["output_finite"] is finite
    assert (info["output_digest"] is None) is (finite is None)
    assert any("output_digest" in note for note in info["notes"]) is (finite is None)


WRITES_INTO_ITS_INPUT = """
from torch import nn

class Net(nn.Module):
    def forward(self, x):
        return x.mul_(2).mean((1, 2, 3))

def net(): return Net()
def own(): return Net(), lambda batch, imgsz, generator: __import__("torch").rand(batch, 3, 8, 8, generator=generator)
"""


@pytest.mark.parametrize("name", ["net", "own"])
def test_a_model_that_writes_into_its_input_does_not_change_the_next_round(
    project: pytest.Pytester, run: Run, saved: Saved, name: str
) -> None:
    """Doubled at every round, the input would be infinite after some hundred."""
    project.makepyfile(mine=WRITES_INTO_ITS_INPUT)
    args = ("-k", "custom", f"--model=mine.py:{name}", "--batch=1", "--imgsz=8", "--benchmark-json=out.json")
    run(*args, "--iters=2000").assert_outcomes(passed=1)
    assert saved()[f"test_forward[{name}-fp32-b1-8]"]["extra_info"]["iters"] == 2000


def test_throughput_counts_what_a_sample_yields(run: Run, saved: Saved, project: pytest.Pytester) -> None:
    (project.path / "benchmarks" / "test_words.py").write_text(
        "import pytest\n\n\n@pytest.mark.family('custom')\ndef test_words(main_call, main_batches, measure):\n"
        "    measure(main_call, main_batches, unit='words', units_per_sample=7)\n"
    )
    run("-k", "words", "--model=tiny.py:net", "--batch=2", "--iters=9", "--benchmark-json=out.json")
    (info,) = [case["extra_info"] for case in saved().values()]
    assert info["throughput_unit"] == "words/s"
    assert info["throughput_mean_per_s"] == pytest.approx(2 * 7 * 1e3 / info["latency_mean_ms"])
    assert info["throughput_p50_per_s"] == pytest.approx(2 * 7 * 1e3 / info["latency_p50_ms"])
