"""Whole runs on tiny models, as a user would type them: what is measured, what is saved, what is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.test_record import CONTRACT

Run = Callable[..., pytest.RunResult]
Saved = Callable[[], dict[str, dict[str, Any]]]
OWN = ("-k", "custom", "--model=tiny.py:net", "--batch=1")


def no_traceback(result: pytest.RunResult) -> None:
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*During handling*")
    result.stderr.no_fnmatch_line("*Traceback*")


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
    assert len((Path(result.outlines and "out.csv")).read_text().splitlines()) == 5


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


def test_only_the_call_is_timed(project: pytest.Pytester, saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake clock that both preparing an input and the call advance: samples hold the call alone."""
    project.makepyfile(clocked=CLOCKED, mine=TAKES_TIME)
    monkeypatch.setenv("PYTHONPATH", str(project.path))
    project.makeconftest(
        (Path(__file__).parent.parent / "conftest.py").read_text()
        + "\nfrom fixtures.device import Cpu\nCpu.timer = 'clocked.clock'\n"
    )
    result = project.runpytest_subprocess(
        "benchmarks", "-k", "custom", "--model=mine.py:net", "--batch=1", "--iters=4", "--benchmark-json=out.json"
    )
    result.assert_outcomes(passed=1)
    assert saved()["test_forward[net-fp32-b1-224]"]["stats"]["data"] == [0.25] * 4


MISTAKES = """
import torch
from torch import nn

class Nan(nn.Module):
    def forward(self, x):
        return x.mean() * float("nan")

class LateNan(nn.Module):
    calls = 0
    def forward(self, x):
        self.calls += 1
        return x.mean() * (float("nan") if self.calls > 6 else 1.0)

class Oom(nn.Module):
    def forward(self, x):
        return torch.empty(10**14)

class GpuOom(nn.Module):
    def forward(self, x):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 12.50 GiB. GPU 0 has ...")

def nan(): return Nan()
def late(): return LateNan()
def oom(): return Oom()
def gpu_oom(): return GpuOom()
def wrong(): return nn.Linear(10, 10)
def raising(): raise KeyError("backbone")
def bad_inputs(): return nn.Identity(), lambda batch, imgsz, generator: "text"
def raising_inputs(): return nn.Identity(), lambda batch, imgsz, generator: 1 / 0
def good(): return nn.Conv2d(3, 2, 3)
"""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nan", "nan: the output of forward holds NaN or infinity in fp32; not saved as a result"),
        ("late", "late: the last timed call's output of forward holds NaN or infinity in fp32; not saved as a result"),
        ("oom", "oom: forward out of memory on the host, 363.8 TiB were asked for"),
        ("gpu_oom", "gpu_oom: forward out of memory on the device, 12.50 GiB were asked for"),
        ("wrong", "wrong: forward failed on float32 (1, 3, 224, 224): RuntimeError: mat1 and mat2 shapes cannot be*"),
        ("raising", "--model: raising() raised KeyError at mistakes.py:*: 'backbone'"),
        ("missing", "--model: mistakes.py defines no 'missing'; it defines *"),
        (
            "bad_inputs",
            "--model: make_inputs of mistakes.py must return a tensor, or a tuple or dict of tensors; got str",
        ),
        ("raising_inputs", "--model: make_inputs raised ZeroDivisionError at mistakes.py:*: division by zero"),
    ],
)
def test_a_case_that_fails_says_why_and_the_next_one_runs(
    project: pytest.Pytester, run: Run, saved: Saved, name: str, said: str
) -> None:
    project.makepyfile(mistakes=MISTAKES)
    result = run(
        *("-k", "custom", f"--model=mistakes.py:{name}", "--model=mistakes.py:good", "--batch=1"),
        *("--iters=3", "--benchmark-json=out.json"),
    )
    assert result.ret == 1
    result.stdout.fnmatch_lines([said.replace("[", "[[]")])
    no_traceback(result)
    assert list(saved()) == ["test_forward[good-fp32-b1-224]"]


def test_a_test_that_fails_after_timing_is_no_result(project: pytest.Pytester, run: Run) -> None:
    file = project.path / "benchmarks/test_custom.py"
    file.write_text(file.read_text() + "    assert False, 'wrong shape'\n")
    result = run(*OWN, "--benchmark-json=out.json")
    result.assert_outcomes(failed=1)
    assert json.loads((project.path / "out.json").read_text())["benchmarks"] == []
    result.stdout.fnmatch_lines(["nothing was measured*"])


def test_a_test_that_measures_nothing_fails(project: pytest.Pytester, run: Run) -> None:
    """Elsewhere such a test is green, and the case silently gone."""
    file = project.path / "benchmarks/test_custom.py"
    file.write_text(file.read_text().replace("    measure(model.forward", "    return\n    measure(model.forward"))
    result = run(*OWN)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*measured nothing: it never called measure*"])


def test_a_run_of_skips_alone_is_no_success(run: Run) -> None:
    result = run("-k", "custom")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines(["nothing was measured*", "*no model of your own was named; give --model=FILE.py:NAME"])


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("-k", "sam", "--imgsz=512"), "--imgsz: sam-vit-b takes 1024 px only, got 512"),
        (
            ("-k", "clip", "--imgsz=225"),
            "--imgsz: clip-vit-b32 takes multiples of 32 px, got 225; the nearest it takes is 224",
        ),
        (("-k", "clip", "--precision=tf32"), "--precision: TF32 is a mode of CUDA GPUs; a CPU has none"),
        (("-k", "yolo", "--pretrained"), "--pretrained: yolov8n is on no hub; give --weights=yolov8n=FILE.pt*"),
        (("--batch", "1,x"), "--batch: expected positive integers separated by commas, got '1,x'; *"),
        (("--device", "cuda"), "--device: got 'cuda', but there is no NVIDIA GPU or driver here; use --device=cpu"),
        (("--weights", "best.pt"), "--weights: no such file *best.pt'; weights are never downloaded by name"),
        (("-k", "custom", "--model", "no.py:net"), "--model: no such file *no.py' (from 'no.py:net')"),
        (("-k", "yolo", "--images", "nowhere"), "--images: no such file or folder *nowhere'"),
        (("--record-csv=nowhere/x.csv",), "--record-csv: 'nowhere/x.csv' lies in *nowhere', which does not exist; *"),
        (("--benchmark-compare",), "--benchmark-compare: there is no baseline in *; save one with *"),
        (("--benchmark-compare=0007",), "--benchmark-compare: no baseline matches '0007' in *; save one with *"),
        (("--benchmark-compare-fail=median:5%",), "--benchmark-compare-fail: give --benchmark-compare*too, *"),
        (("--benchmark-compare", "-n2"), "--benchmark-compare: nothing is measured under * xdist (-n); *"),
    ],
)
def test_a_mistake_is_a_usage_error_before_any_model_loads(
    run: Run, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], said: str
) -> None:
    monkeypatch.setattr("fixtures.options.visible_gpu_count", lambda: 0)
    monkeypatch.setattr("fixtures.loading._load", lambda *_: pytest.exit("a model was loaded"))
    result = run(*args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {said}"])
    no_traceback(result)


def test_a_size_that_some_can_take_skips_the_others(run: Run, project: pytest.Pytester) -> None:
    result = run("--imgsz=96", "-k", "encoder and sam or custom", "--model=tiny.py:net", "--batch=1")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*--imgsz: sam-vit-b takes 1024 px only, got 96"])


@pytest.mark.parametrize(
    ("args", "why"), [(("--benchmark-disable",), "--benchmark-disable"), (("-n", "1"), "xdist (-n)*")]
)
def test_a_run_that_may_not_measure_says_so(
    project: pytest.Pytester, args: tuple[str, ...], why: str, run: Run
) -> None:
    result = run(*OWN, *args)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"nothing was measured ({why})"])


def test_collection_imports_no_framework(project: pytest.Pytester) -> None:
    project.makeconftest(
        (Path(__file__).parent.parent / "conftest.py").read_text() + "\nimport sys\ndef pytest_collection_finish():\n"
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


def small_clip(folder: Path) -> None:
    from transformers import CLIPConfig, CLIPModel

    text = {"vocab_size": 100, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "image_size": 32, "patch_size": 8}
    config = CLIPConfig(
        text_config={**text, "num_attention_heads": 2, "eos_token_id": 99},
        vision_config={**vision, "num_attention_heads": 2},
        projection_dim=8,
    )
    CLIPModel(config).save_pretrained(folder)


def test_a_folder_of_weights_is_measured_instead_of_the_built_in_models(
    project: pytest.Pytester, run: Run, saved: Saved
) -> None:
    small_clip(project.path / "mine")
    result = run("-k", "clip", "--weights=mine", "--batch=1", "--imgsz=32,48", "--benchmark-json=out.json")
    result.assert_outcomes(passed=5)
    info = saved()["test_image_encoder[mine-fp32-b1-48]"]["extra_info"]
    assert info["weights"].startswith("file:mine:")
    assert info["family"] == "clip"


def test_corrupt_weights_are_told_in_one_line(project: pytest.Pytester, run: Run) -> None:
    small_clip(project.path / "mine")
    file = project.path / "mine/model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    (project.path / "bad.pt").write_bytes(b"these are no weights")
    result = run("--weights=mine", "--weights=bad.pt", "-k", "mine or bad", "--batch=1")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["--weights: * in '*mine' is corrupt: *"])
    result.stdout.fnmatch_lines(["--weights: '*bad.pt' cannot be loaded: *"])
    no_traceback(result)


def test_what_the_shell_makes_of_an_unquoted_glob_is_understood(project: pytest.Pytester, run: Run) -> None:
    for name in ("a", "b"):
        (project.path / f"{name}.pt").write_bytes(b"x")
    result = run("--collect-only", "-q", "-k", "test_forward", "--weights", "a.pt", "b.pt")
    result.stdout.fnmatch_lines(["*test_forward[[]a-fp32-b1-640]", "*test_forward[[]b-fp32-b1-640]"])


def test_trained_yolo_is_split_into_stages_on_real_images_only(
    project: pytest.Pytester, run: Run, saved: Saved
) -> None:
    from PIL import Image

    from fixtures.models.yolo import import_ultralytics

    import_ultralytics().YOLO("yolov8n.yaml", verbose=False).save(str(project.path / "best.pt"))
    args = ("-k", "yolo", "--weights=mine=best.pt", "--batch=1", "--imgsz=64", "--iters=3")
    result = run(*args)
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines(["*how many boxes NMS sorts out depends on what the images show; give --images=DIR"])
    project.mkdir("photos")
    for index in range(4):
        Image.new("RGB", (80, 60), (index, 9, 200)).save(project.path / f"photos/{index}.png")
    run(*args, "--images", "photos", "--benchmark-json=out.json").assert_outcomes(passed=3)
    benchmarks = saved()
    stages = {f"test_{stage}[mine-fp32-b1-64]" for stage in ("forward", "preprocess", "nms")}
    assert set(benchmarks) == stages
    info = benchmarks["test_forward[mine-fp32-b1-64]"]["extra_info"]
    assert (info["fused"], info["params"]) == (True, 3_157_200)
    assert info["weights"].startswith("file:best.pt:")


def test_the_value_of_images_is_no_test_path(project: pytest.Pytester, run: Run) -> None:
    """Else a conftest.py among somebody's images would be executed."""
    folder = project.mkdir("images")
    (folder / "conftest.py").write_text("raise SystemExit('executed')\n")
    result = run(*OWN, "--images", "images")
    result.stderr.fnmatch_lines(["ERROR: --images: '*images' holds no image*"])


SLOWED = """
import time
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        end = time.perf_counter() + {seconds}
        while time.perf_counter() < end:
            pass
        return self.linear(x[..., :4])

def net():
    return Net()
"""


def test_a_slowed_model_is_a_regression_in_one_line(project: pytest.Pytester, run: Run) -> None:
    project.makepyfile(mine=SLOWED.format(seconds=0.001))
    args = ("-k", "custom", "--model=mine.py:net", "--batch=1", "--iters=5")
    run(*args, "--benchmark-save=base").assert_outcomes(passed=1)
    assert len(list((project.path / "results").glob("*/0001_base.json"))) == 1
    unchanged = run(*args, "--benchmark-compare", "--benchmark-compare-fail=median:900%")
    assert unchanged.ret == 0
    unchanged.stdout.fnmatch_lines(["1 compared, 0 regressed, 0 refused, 0 new"])
    project.makepyfile(mine=SLOWED.format(seconds=0.1))
    slowed = run(*args, "--benchmark-compare=0001", "--benchmark-compare-fail=median:900%")
    assert slowed.ret == 1
    slowed.stdout.fnmatch_lines(
        ["REGRESSION benchmarks/test_custom.py::test_forward[[]net-fp32-b1-224]: median * ms (+*, limit 900 %)"]
    )
    no_traceback(slowed)


def edit_baseline(project: pytest.Pytester, **change: object) -> None:
    (file,) = (project.path / "results").glob("*/0001_base.json")
    content = json.loads(file.read_text())
    for benchmark in content["benchmarks"]:
        benchmark["extra_info"].update(change)
    file.write_text(json.dumps(content))


def test_a_baseline_of_another_device_is_refused_before_anything_runs(project: pytest.Pytester, run: Run) -> None:
    run(*OWN, "--iters=3", "--benchmark-save=base")
    edit_baseline(project, device="cuda:0", device_name="NVIDIA H200")
    result = run(*OWN, "--benchmark-compare")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --benchmark-compare: refused, 0001_base.json was measured on cuda:0 (NVIDIA H200) and this is cpu (*"]
    )


@pytest.mark.parametrize("field", ["weights", "inputs_digest", "precision"])
def test_a_baseline_of_other_work_is_refused_by_name(project: pytest.Pytester, run: Run, field: str) -> None:
    run(*OWN, "--iters=3", "--benchmark-save=base")
    edit_baseline(project, **{field: "other"})
    result = run(*OWN, "--iters=3", "--benchmark-compare", "--benchmark-compare-fail=min:1%")
    assert result.ret == 6
    result.stdout.fnmatch_lines([f"REFUSED benchmarks/test_custom.py::*: {field} other -> *"])
    result.stdout.no_fnmatch_line("REGRESSION*")


def test_threads_are_as_asked(run: Run, saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", seen.append)
    run(*OWN, "--threads=2", "--iters=3", "--benchmark-json=out.json")
    assert seen[0] == 2
    assert saved()["test_forward[net-fp32-b1-224]"]["extra_info"]["threads"] == 2


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


INTERRUPTED = """
from torch import nn

class Net(nn.Module):
    calls = 0
    def forward(self, x):
        self.calls += 1
        if self.calls > 10:
            raise KeyboardInterrupt
        return x.mean()

def first(): return nn.Conv2d(3, 2, 3)
def second(): return Net()
"""


def test_an_interrupted_case_is_no_result_and_finished_ones_are_kept(project: pytest.Pytester, saved: Saved) -> None:
    project.makepyfile(mine=INTERRUPTED)
    models = ("--model=mine.py:first", "--model=mine.py:second")
    result = project.runpytest_subprocess(
        *("benchmarks", "-k", "custom", *models, "--batch=1", "--iters=50", "--benchmark-json=out.json")
    )
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert list(saved()) == ["test_forward[first-fp32-b1-224]"]
    result.stdout.fnmatch_lines(["first * forward *"])
