"""What a user may get wrong, and what a run says of it: one line, the right exit code, no traceback."""

from __future__ import annotations

import json
import re

import pytest

from fixtures.options import OPTIONS
from tests.conftest import OWN, Run, Saved, no_traceback
from tests.tiny import small_clip

MISTAKES = """
import dataclasses, sys
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

class Late(nn.Module):
    calls = 0
    def forward(self, x):
        self.calls += 1
        if self.calls > 5:
            raise RuntimeError("no more")
        return x.mean()

class DataNan(nn.Module):
    def forward(self, x):
        return Out(x.mean() * float("nan"))

@dataclasses.dataclass
class Out:
    logits: object

class GpuOom(nn.Module):
    def forward(self, x):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 12.50 GiB. GPU 0 has ...")

def nan(): return Nan()
def late(): return LateNan()
def oom(): return Oom()
def gpu_oom(): return GpuOom()
def wrong(): return nn.Linear(10, 10)
def late_error(): return Late()
def data_nan(): return DataNan()
def leaving(): sys.exit(3)
def raising(): raise KeyError("backbone")
def bad_inputs(): return nn.Identity(), lambda batch, imgsz, generator: "text"
def raising_inputs(): return nn.Identity(), lambda batch, imgsz, generator: 1 / 0
def good(): return nn.Conv2d(3, 2, 3)
"""


FAILING = {
    "nan": "nan: the output of forward holds NaN or infinity in fp32; not saved as a result",
    "late": "late: the last timed call's output of forward holds NaN or infinity in fp32; not saved as a result",
    "oom": "oom: forward out of memory on the host, 363.8 TiB were asked for",
    "gpu_oom": "gpu_oom: forward out of memory on the device, 12.50 GiB were asked for",
    "late_error": "late_error: forward failed after its first call: RuntimeError: no more (*)",
    "data_nan": "data_nan: the output of forward holds NaN or infinity in fp32; not saved as a result",
    "leaving": "--model: leaving() raised SystemExit at mistakes.py:*: 3",
    "wrong": "wrong: forward failed on float32 (1, 3, 224, 224): RuntimeError: mat1 and mat2 shapes cannot be*",
    "raising": "--model: raising() raised KeyError at mistakes.py:*: 'backbone'",
    "missing": "--model: mistakes.py defines no 'missing'; it defines *",
    "bad_inputs": "--model: make_inputs of mistakes.py must return a tensor, or a tuple or dict of tensors; got str",
    "raising_inputs": "--model: make_inputs raised ZeroDivisionError at mistakes.py:*: division by zero",
}


def test_a_case_that_fails_says_why_and_the_next_one_runs(project: pytest.Pytester, run: Run, saved: Saved) -> None:
    project.makepyfile(mistakes=MISTAKES)
    models = [f"--model=mistakes.py:{name}" for name in (*FAILING, "good")]
    result = run("-k", "custom", *models, "--batch=1", "--iters=3", "--benchmark-json=out.json")
    result.assert_outcomes(failed=7, errors=5, passed=1)
    assert result.ret == 1
    for said in FAILING.values():
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
    monkeypatch.setattr("fixtures.plugins.options.visible_gpu_count", lambda: 0)
    monkeypatch.setattr("fixtures.measure.loading._load", lambda *_: pytest.exit("a model was loaded"))
    result = run(*args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {said}"])
    no_traceback(result)


def test_a_size_that_some_can_take_skips_the_others(run: Run, project: pytest.Pytester) -> None:
    result = run("--imgsz=96", "-k", "encoder and sam or custom", "--model=tiny.py:net", "--batch=1")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*--imgsz: sam-vit-b takes 1024 px only, got 96"])


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("--benchmark-disable",), "--benchmark-disable"),
        pytest.param(("-n", "1"), "xdist (-n)*", marks=pytest.mark.slow),
    ],
)
def test_a_run_that_may_not_measure_says_so(
    project: pytest.Pytester, args: tuple[str, ...], why: str, run: Run
) -> None:
    result = run(*OWN, *args)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"nothing was measured ({why})"])


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


def test_the_value_of_images_is_no_test_path(project: pytest.Pytester, run: Run) -> None:
    """Else a conftest.py among somebody's images would be executed."""
    folder = project.mkdir("images")
    (folder / "conftest.py").write_text("raise SystemExit('executed')\n")
    result = run(*OWN, "--images", "images")
    result.stderr.fnmatch_lines(["ERROR: --images: '*images' holds no image*"])


@pytest.mark.parametrize(
    "option", [each.name for each in OPTIONS if re.search("FILE|DIR|PATH|SRC", each.metavar or "")]
)
def test_no_value_of_an_option_has_its_neighbours_executed(project: pytest.Pytester, run: Run, option: str) -> None:
    """pytest imports conftest.py beside every argument that it takes for a test path."""
    folder = project.mkdir("some where")
    (folder / "conftest.py").write_text("from pathlib import Path\nPath('executed').touch()\n")
    (folder / "x.toml").write_text("")
    run("-k", "custom", option, "some where/x.toml", "--collect-only")
    assert not (project.path / "executed").exists()


def test_options_with_paths_are_looked_at() -> None:
    names = {each.name for each in OPTIONS if re.search("FILE|DIR|PATH|SRC", each.metavar or "")}
    assert {"--budget", "--images", "--report", "--endpoint", "--gate-file", "--against", "--export"} <= names


def test_other_tests_of_whatever_name_are_no_benchmarks(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_mine="import pytest\n@pytest.mark.parametrize('of', ['family'])\ndef test_it(of): assert of\n"
    )
    result = project.runpytest_inprocess("test_mine.py")
    assert result.ret == 0
    result.stdout.no_fnmatch_line("*nothing was measured*")


INTERRUPTED = """
import os, signal, time
from torch import nn

class Net(nn.Module):
    calls = 0
    def forward(self, x):
        self.calls += 1
        if self.calls > 10:
            os.kill(os.getppid(), signal.SIGINT)  # the process that the user started, as a Ctrl-C does
            time.sleep(10)  # until it is heard
        return x.mean()

def first(): return nn.Conv2d(3, 2, 3)
def second(): return Net()
"""


@pytest.mark.slow
def test_an_interrupted_case_is_no_result_and_finished_ones_are_kept(project: pytest.Pytester, saved: Saved) -> None:
    project.makepyfile(mine=INTERRUPTED)
    models = ("--model=mine.py:first", "--model=mine.py:second")
    result = project.runpytest_subprocess(
        *("benchmarks", "-k", "custom", *models, "--batch=1", "--iters=50", "--benchmark-json=out.json")
    )
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert list(saved()) == ["test_forward[first-fp32-b1-224]"]
    result.stdout.fnmatch_lines(["first *forward *"])


def test_a_benchmark_file_that_cannot_be_imported_is_pytests_own_error(project: pytest.Pytester, run: Run) -> None:
    (project.path / "benchmarks/test_x.py").write_text("import nope\n")
    result = run(*OWN)
    result.stdout.fnmatch_lines(["*No module named 'nope'*"])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


def test_a_model_that_cannot_be_counted_is_measured_all_the_same(
    project: pytest.Pytester, run: Run, saved: Saved
) -> None:
    project.makepyfile(
        mine="import torch\nfrom torch import nn\nclass Net(nn.Module):\n    def forward(self, x):\n"
        "        assert not torch.utils._python_dispatch._get_current_dispatch_mode()\n        return x.mean()\n"
        "def net(): return Net()\n"
    )
    run("-k", "custom", "--model=mine.py:net", "--batch=1", "--iters=3", "--benchmark-json=out.json").assert_outcomes(
        passed=1
    )
    info = saved()["test_forward[net-fp32-b1-224]"]["extra_info"]
    assert (info["gflops"], info["gmacs"]) == (None, None)
    assert any(note.startswith("gmacs, gflops: not countable (AssertionError") for note in info["notes"])


def test_a_model_that_the_selection_leaves_out_is_told(run: Run) -> None:
    result = run("-k", "custom and b1 and not five", "--model=tiny.py:net", "--model=tiny.py:five", "--batch=1")
    result.stdout.fnmatch_lines(["models: -k * selects no benchmark of five, which is not measured"])


def test_the_header_says_what_a_gate_allows(run: Run) -> None:
    result = run("-k", "custom", "--model=tiny.py:net", "--batch=1", "--gate=latency_p50_ms<=1e9")
    result.stdout.fnmatch_lines(["gate: latency_p50_ms<=1e+09 ms"])


def test_a_group_that_no_case_has_is_found_before_anything_runs(run: Run) -> None:
    """It was found after the whole run, which then had no table."""
    result = run(*OWN, "--benchmark-group-by=param:btch")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*--benchmark-group-by: not every case has a parameter 'btch'; did you mean param:batch*"]
    )
    assert run(*OWN, "--benchmark-group-by=param:batch").ret == 0


def test_a_histogram_without_pygal_is_found_before_anything_runs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fixtures.plugins.outputs.find_spec", lambda name: None)
    result = run(*OWN, "--benchmark-histogram")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--benchmark-histogram: needs pygal, which is not installed (pip install pygal*"])
