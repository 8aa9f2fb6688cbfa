"""Whole runs over variants: real exporters, real runtimes, real files, on models small enough for a test."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch

from fixtures.cases.own import OwnModel
from fixtures.cases.variants import UnavailableError, Variant
from fixtures.devices.cpu import Cpu
from fixtures.measure.loading import Shelf
from fixtures.measure.sizes import plain_tensors, safetensors_bytes
from fixtures.models.custom import FAMILY, spec_from_own
from fixtures.runtimes.graph import Graph
from tests.conftest import Run, Saved, no_traceback
from tests.test_settings import parsed
from tests.tiny import images_in

MODELS = """
import torch
from torch import nn

class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 32, 3, stride=4)
        self.hidden = nn.Linear(32, 256)
        self.out = nn.Linear(256, 10)

    def forward(self, x):
        return self.out(torch.relu(self.hidden(torch.relu(self.conv(x)).mean((2, 3)))))

class Upset(nn.Module):
    "In bf16 it sees NaN in the sixth of the fixed inputs, which no timed round of two reaches, or says the opposite."

    def __init__(self, how):
        super().__init__()
        self.scale, self.how = nn.Parameter(torch.ones(4)), how

    def forward(self, x):
        if x.dtype == torch.bfloat16:
            if self.how == "nan":
                return torch.where(x > 5.5, torch.nan, x) * self.scale
            return -x * self.scale
        return x * self.scale

class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x):
        return x * self.scale if float(x.sum()) > 0 else -x

def numbered(batch, imgsz, generator):
    return torch.full((batch, 4), float(generator.initial_seed() % 8 + 1))

def classifier():
    return Classifier()

def nan():
    return Upset("nan"), numbered

def opposite():
    return Upset("opposite"), numbered

def branches():
    return Branches(), numbered
"""

RUN = (
    "-k",
    "custom",
    "--batch=2",
    "--imgsz=32",
    "--warmup=1",
    "--iters=4",
    "--num-images=16",
    "--max-seconds=5",
    "--benchmark-json=out.json",
)


pytestmark = [pytest.mark.usefixtures("in_one_process"), pytest.mark.slow]


@pytest.fixture
def models(runtimes: None, project: pytest.Pytester) -> Path:
    return project.makepyfile(models=MODELS)


def infos(saved: Saved) -> dict[str, dict[str, Any]]:
    """`extra_info` by what follows the shape in the id."""
    return {name.partition("[")[2].rstrip("]"): benchmark["extra_info"] for name, benchmark in saved().items()}


def test_every_runtime_of_a_cpu_against_eager_fp32(
    models: Path, run: Run, saved: Saved, project: pytest.Pytester
) -> None:
    options = (
        "--precision=fp32,bf16,int8",
        "--runtime=eager,onnxruntime,openvino,cudagraph",
        "--model=models.py:classifier",
    )
    result = run(*RUN, *options)
    assert result.ret == 0
    no_traceback(result)
    found = infos(saved)
    # Seven: bf16 is missing from ONNX Runtime, CUDA graphs from a CPU.
    assert sorted(found) == sorted(
        f"classifier-{name}"
        for name in (
            "fp32-b2-32", "bf16-b2-32", "int8-b2-32", "fp32-b2-32-onnxruntime", "int8-b2-32-onnxruntime",
            "fp32-b2-32-openvino", "bf16-b2-32-openvino", "int8-b2-32-openvino",
        )
        if name != "bf16-b2-32-openvino" or f"classifier-{name}" in found  # a processor may lack bf16
    )  # fmt: skip
    base = found.pop("classifier-fp32-b2-32")
    assert (base["baseline"], base["speedup"]) == (None, None)
    for name, info in found.items():
        assert info["baseline"] == "fp32-eager"
        assert info["speedup_low"] < info["speedup"] < info["speedup_high"]
        assert len(info["speedup_samples_ms"]) == len(info["speedup_baseline_samples_ms"]) == 4
        assert info["speedup_unequal"] == []
        assert (info["agreement_count"], info["agreement_finite"]) == (16, True)
        assert 0.99 < info["agreement_cosine_min"] <= 1
        assert 0.9 < info["agreement_top1"] <= 1, name
        assert (info["params"], info["gflops"], info["weights"]) == (base["params"], base["gflops"], base["weights"])
        exact = "fp32" in name
        assert (info["agreement_max_abs"] < 1e-5) is exact
        assert (info["size_ratio"] < 0.75) is not exact or "openvino" in name
        converted = "onnxruntime" in name or "openvino" in name
        assert (info["compile_s"] is not None) is converted
        assert info["calibration_count"] == (16 if "int8" in name and converted else None)
    output = result.stdout.str()
    assert "speed-up over fp32-eager" in output
    assert "ONNX Runtime's CPU kernels know no bf16" in output
    assert "CUDA graphs need an NVIDIA GPU" in output


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_an_int8_file_is_really_smaller(models: Path, runtime: str) -> None:
    """What stands in the record is what lies on disk."""
    sizes = {}
    for precision in ("fp32", "int8"):
        spec = spec_from_own(OwnModel("classifier", models))
        with Shelf(Cpu(), parsed()).beside(case(spec, Variant(precision, runtime))) as loaded:
            forward = loaded.model.forward  # type: ignore[attr-defined]
            assert isinstance(forward, Graph)
            assert forward.file_bytes is None
            forward(torch.rand(1, 3, 32, 32))
            on_disk = [file for file in Path(forward._folder.name).rglob("*") if file.is_file()]
            mine = [
                file for file in on_disk if precision == "fp32" or runtime == "openvino" or file.name == "int8.onnx"
            ]
            sizes[precision] = forward.file_bytes
            assert forward.file_bytes == sum(file.stat().st_size for file in mine)
    assert sizes["int8"] < 0.75 * sizes["fp32"]


def case(spec: Any, variant: Variant) -> Any:
    from fixtures.cases.case import Case

    return Case(FAMILY, spec, variant, 1, 32)


def test_int8_of_torch_is_really_smaller_on_disk(models: Path) -> None:
    spec = spec_from_own(OwnModel("classifier", models))
    with Shelf(Cpu(), parsed()).beside(case(spec, Variant("int8"))) as loaded:
        module = loaded.model.module
        stream = io.BytesIO()
        torch.save({name: list(plain_tensors(value)) for name, value in module.state_dict().items()}, stream)
        assert 0.5 * safetensors_bytes(module) < len(stream.getvalue()) < 2 * safetensors_bytes(module) + 4096
        assert any(tensor.dtype == torch.int8 for p in module.parameters() for tensor in plain_tensors(p))
    with Shelf(Cpu(), parsed()).beside(case(spec, Variant("fp32"))) as loaded:
        assert safetensors_bytes(module) < 0.6 * safetensors_bytes(loaded.model.module)


def test_a_pruned_model_is_smaller_and_compared(models: Path, run: Run, saved: Saved) -> None:
    run(*RUN, "--prune=0.5", "--model=models.py:classifier").assert_outcomes(passed=2)
    found = infos(saved)
    base, pruned = found["classifier-fp32-b2-32"], found["classifier-fp32-b2-32-prune50"]
    # Half the channels of the convolution and of the hidden layer; the ten outputs stay.
    assert base["params"] == 3 * 9 * 32 + 32 + 32 * 256 + 256 + 256 * 10 + 10
    assert pruned["params"] == 3 * 9 * 16 + 16 + 16 * 128 + 128 + 128 * 10 + 10
    assert pruned["size_ratio"] == pytest.approx(pruned["runtime_file_bytes"] / base["runtime_file_bytes"])
    assert pruned["gflops"] < 0.6 * base["gflops"]
    assert pruned["agreement_cosine_min"] < 1
    assert (pruned["prune"], pruned["weights"]) == (0.5, base["weights"])


@pytest.mark.parametrize(("name", "said"), [("nan", "NaN"), ("opposite", "-1.0000")])
def test_a_variant_that_is_another_model_is_flagged_beside_its_speedup(
    models: Path, run: Run, saved: Saved, name: str, said: str
) -> None:
    result = run(*RUN, "--precision=fp32,bf16", f"--model=models.py:{name}", "--warmup=0", "--iters=2")
    assert result.ret == 0
    info = infos(saved)[f"{name}-bf16-b2-32"]
    assert info["speedup"] is not None
    assert info["agreement_finite"] is (name != "nan")
    (row,) = [line for line in result.outlines if line.startswith("bf16-eager")]
    assert " ! " in row
    assert said in row
    result.stdout.fnmatch_lines(["! bf16-eager: outputs are NaN or disagree (cosine under 0.9)*"])


def test_what_cannot_be_converted_is_a_row_with_the_reason(models: Path, run: Run) -> None:
    result = run(*RUN, "--runtime=eager,onnxruntime", "--model=models.py:branches")
    assert result.ret == 0
    result.assert_outcomes(passed=1, skipped=1)
    no_traceback(result)
    result.stdout.fnmatch_lines(["*fp32-onnxruntime: forward cannot be converted: *"])


@pytest.mark.parametrize(
    "options",
    [
        ("-k", "custom", "--benchmark-disable"),
        ("-k", "branches and best_batch", "--throughput"),
        ("-k", "branches and classification", "--labels=labels.csv"),
    ],
)
def test_it_is_a_skip_wherever_the_model_is_first_called(
    models: Path, run: Run, project: pytest.Pytester, options: tuple[str, ...]
) -> None:
    images_in(project.path, 2)
    (project.path / "labels.csv").write_text("image,label\n0.png,0\n1.png,1\n")
    given = (
        "--model=models.py:branches",
        "--runtime=openvino",
        "--baseline=none",
        "--batch=1",
        "--imgsz=4",
        "--iters=3",
    )
    result = run(*options, *given)
    no_traceback(result)
    result.stdout.fnmatch_lines(["*fp32-openvino: forward cannot be converted: *"])


def test_torch_compile_is_timed_after_it_has_compiled(models: Path, run: Run, saved: Saved) -> None:
    run(*RUN, "--runtime=compile", "--model=models.py:classifier").assert_outcomes(passed=2)
    info = infos(saved)["classifier-fp32-b2-32-compile"]
    assert 0 < info["compile_s"] <= info["first_call_ms"] / 1e3
    assert (info["runtime"], info["size_ratio"], info["agreement_count"]) == ("compile", 1.0, 16)
    assert info["agreement_max_abs"] < 1e-5


def test_the_baseline_may_be_another_variant_and_agreement_stays_with_eager_fp32(
    models: Path, run: Run, saved: Saved
) -> None:
    options = ("--precision=fp32,bf16", "--baseline=bf16-eager", "--model=models.py:classifier")
    run(*RUN, *options).assert_outcomes(passed=2)
    found = infos(saved)
    base, other = found["classifier-bf16-b2-32"], found["classifier-fp32-b2-32"]
    assert (base["baseline"], base["speedup"]) == (None, None)
    assert 0 < base["agreement_max_abs"] < 1
    assert other["baseline"] == "bf16-eager"
    assert other["agreement_max_abs"] is None
    assert other["size_ratio"] == pytest.approx(2, rel=0.02)


def test_int8_without_linear_layers_is_told(project: pytest.Pytester) -> None:
    file = project.makepyfile(convs="from torch import nn\n\ndef net():\n    return nn.Conv2d(3, 8, 3)\n")
    spec = spec_from_own(OwnModel("net", file))
    with (
        pytest.raises(UnavailableError, match="is for linear layers, net has none; use --runtime=onnxruntime,openvino"),
        Shelf(Cpu(), parsed()).beside(case(spec, Variant("int8"))),
    ):
        pass


def test_quality_that_a_variant_loses_stands_beside_its_speedup(
    models: Path, run: Run, saved: Saved, project: pytest.Pytester
) -> None:
    """A converted model is asked too, in batches of another size than it is timed in."""
    names = images_in(project.path, 10)
    lines = "\n".join(f"{name},{index % 2}" for index, name in enumerate(names))
    (project.path / "labels.csv").write_text(f"image,label\n{lines}\n")
    options = ("--precision=fp32,int8", "--runtime=eager,onnxruntime", "--model=models.py:classifier")
    (project.path / "small.toml").write_text('[must]\nlatency = "< 1 s"\nsize = "< 1 GB"\n')
    budget = ("--labels=labels.csv", "--budget=small.toml")
    result = run("-k", "classification and custom or classification and classifier", *budget, *options, *RUN[2:])
    assert result.ret in (0, 1)  # by what int8 makes of ten images
    found = infos(saved)
    assert len(found) == 4
    assert all(info["quality_count"] == 10 for info in found.values())
    assert all(info["top1_accuracy"] is not None for info in found.values())
    result.stdout.fnmatch_lines(["*quality drop*", "*accuracy loss (must)*< 2 points*0 points*unknown*top1_accuracy*"])
    result.stdout.fnmatch_lines(["of 4 variants of classification classifier b2 32 the first that fits: fp32"])


def test_several_processes_are_pooled(models: Path, run: Run, saved: Saved) -> None:
    options = ("--precision=fp32,bf16", "--model=models.py:classifier", "--processes=2")
    run(*RUN, *options).assert_outcomes(passed=2)
    info = infos(saved)["classifier-bf16-b2-32"]
    each = info["process_values"]["speedup"]
    assert len(each) == 2
    assert min(each) <= info["speedup"] <= max(each)
    assert info["speedup_low"] < min(each)
    assert max(each) < info["speedup_high"]
