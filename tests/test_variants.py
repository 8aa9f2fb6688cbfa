"""Variants: how they are named, which exist, which cases they make."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pytest
import torch

import fixtures.cases.variants as variants
from fixtures.cases.case import Case
from fixtures.cases.family import Family, Spec
from fixtures.cases.model import Model
from fixtures.cases.runtimes import RUNTIMES, TORCH_RUNTIMES
from fixtures.cases.variants import (
    PRECISIONS,
    Variant,
    VariantError,
    parse_prunes,
    parse_runtimes,
    parse_variant,
    variants_of,
)
from fixtures.config.settings import OptionError
from fixtures.devices.cpu import Cpu
from fixtures.devices.cuda import Cuda
from fixtures.devices.mps import Mps
from fixtures.measure.loading import dtype_of
from fixtures.plugins.collect import cases_of
from tests.conftest import OWN, ROOT, Run, Saved
from tests.test_settings import parsed


def never(*_: Any) -> Model:
    raise AssertionError("nothing is built")


TOY = Family("toy", "nothing", (1, 8), "forward", (), never)


@pytest.mark.parametrize("variant", [Variant("fp32"), Variant("int8", "openvino"), Variant("bf16", "compile", 0.5)])
def test_a_variant_is_read_as_it_is_written(variant: Variant) -> None:
    assert parse_variant("--baseline", str(variant)) == variant


def test_only_what_is_not_the_default_is_a_suffix() -> None:
    ids = [Case(TOY, Spec("net", 8, 1), variant, 1, 224).id() for variant in (
        Variant("fp32"), Variant("bf16", "compile"), Variant("fp32", prune=0.5), Variant("int8", "openvino", 0.25)
    )]  # fmt: skip
    assert ids == [
        "net-fp32-b1-224",
        "net-bf16-b1-224-compile",
        "net-fp32-b1-224-prune50",
        "net-int8-b1-224-openvino-prune25",
    ]


@pytest.mark.parametrize("text", ["", "fp32", "fp8-eager", "fp32-jax", "fp32-eager-prune100", "fp32_eager"])
def test_a_baseline_that_is_none_is_told(text: str) -> None:
    with pytest.raises(VariantError, match=r"--baseline: expected PRECISION-RUNTIME such as fp32-eager, or none, got"):
        parse_variant("--baseline", text)


@pytest.mark.parametrize("text", ["1", "-0.5", "1.5", "half", "0.5,", "50"])
def test_a_share_is_below_one(text: str) -> None:
    with pytest.raises(VariantError, match="--prune: expected shares of channels from 0 to below 1"):
        parse_prunes("--prune", text)


def test_a_runtime_that_is_none_is_told_with_those_there_are() -> None:
    with pytest.raises(
        VariantError, match="--runtime: expected some of eager, compile, cudagraph, onnxruntime, openvino"
    ):
        parse_runtimes("--runtime", "eager,jax")


def test_every_combination_once_and_the_baseline_first() -> None:
    found = variants_of(("fp32", "bf16"), ("compile", "eager"), (0.0, 0.5), Variant("fp32"))
    assert found[0] == Variant("fp32")
    assert len(found) == len(set(found)) == 8


@pytest.mark.parametrize(
    ("given", "compares", "names"),
    [
        ({}, False, ["fp32-eager"]),
        ({"precision": "bf16"}, False, ["bf16-eager"]),
        ({"precision": "fp32,bf16"}, True, ["fp32-eager", "bf16-eager"]),
        ({"runtime": "compile"}, True, ["fp32-eager", "fp32-compile"]),
        ({"prune": "0.5"}, True, ["fp32-eager", "fp32-eager-prune50"]),
        ({"runtime": "compile", "baseline": "none"}, False, ["fp32-compile"]),
        ({"precision": "bf16", "baseline": "bf16-compile"}, True, ["bf16-compile", "bf16-eager"]),
    ],
)
def test_what_is_measured_and_whether_it_is_compared(given: dict[str, str], compares: bool, names: list[str]) -> None:
    settings = parsed(**given)
    assert settings.compares is compares
    assert list(map(str, settings.variants("fp32"))) == names


def test_a_model_that_does_not_fit_in_fp32_has_its_own_default_for_a_baseline() -> None:
    assert list(map(str, parsed(runtime="compile").variants("bf16"))) == ["bf16-eager", "bf16-compile"]


def test_what_is_not_installed_is_told_with_the_line_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variants, "find_spec", lambda name: None)
    assert Variant("fp32").impossible() is None
    assert Variant("bf16", "compile").impossible() is None
    said = Variant("int8", "onnxruntime").impossible()
    assert said == "int8-onnxruntime needs onnxruntime, onnx, onnxscript; pip install -r requirements-runtimes.txt"
    assert Variant("int8").impossible() == "int8-eager needs torchao; pip install -r requirements-runtimes.txt"
    assert "torch_pruning" in str(Variant("fp32", prune=0.5).impossible())
    assert "pip install torch-tensorrt" in str(Variant("fp16", "tensorrt").impossible())


def test_the_test_environment_has_every_runtime_of_a_cpu() -> None:
    """Else the tests below would skip what they are there for."""
    packages = {name for runtime in ("onnxruntime", "openvino") for name in Variant("int8", runtime).packages}
    packages |= set(Variant("int8", prune=0.5).packages)
    assert [name for name in sorted(packages) if find_spec(name) is None] == []


@pytest.mark.parametrize(
    ("device", "runtimes"),
    [
        (Cpu(), {"eager", "again", "compile", "onnxruntime", "openvino"}),
        (Cuda(0), {"eager", "again", "compile", "cudagraph", "tensorrt"}),
        (Mps(), {"eager", "again", "compile"}),
    ],
)
def test_a_runtime_that_the_device_lacks_is_a_skip_with_the_reason(
    device: Cpu, runtimes: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(variants, "find_spec", lambda name: name)
    settings = parsed(gpu_count=1, device=device.name if device.kind != "mps" else "mps", runtime=",".join(RUNTIMES))
    cases = list(cases_of(settings, TOY, [Spec("net", 8, 1)], sized=True))
    assert {case.variant.runtime for case in cases if case.unsupported is None} == runtimes
    assert all(case.unsupported.startswith("--runtime: ") for case in cases if case.unsupported)


@pytest.mark.parametrize("variant", [Variant("bf16", "onnxruntime"), Variant("fp16", "onnxruntime")])
def test_a_combination_that_does_not_exist_has_a_reason(variant: Variant) -> None:
    assert "ONNX Runtime" in str(variant.impossible())


@pytest.mark.parametrize(
    ("runtime", "never"),
    [
        ("eager", set()),
        ("compile", set()),
        ("cudagraph", set()),
        ("onnxruntime", {"bf16", "fp16", "tf32"}),
        ("openvino", {"tf32"}),
        ("tensorrt", {"int8"}),
    ],
)
def test_what_no_device_has_is_refused_for_its_own_reason(
    runtime: str, never: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(variants, "find_spec", lambda name: name)
    assert {precision for precision in PRECISIONS if Variant(precision, runtime).impossible()} == never


def test_a_runtime_that_lowers_the_precision_itself_gets_the_whole_weights() -> None:
    """Else what it converts was rounded before it saw it."""
    dtypes = {(p, r): dtype_of(Variant(p, r)) for p in ("fp32", "bf16", "fp16", "int8") for r in RUNTIMES}
    rounded = {pair for pair, dtype in dtypes.items() if dtype != torch.float32}
    assert rounded == {(p, r) for p in ("bf16", "fp16") for r in (*TORCH_RUNTIMES, "tensorrt")}
    assert dtypes["bf16", "eager"] == torch.bfloat16


def test_an_impossible_selection_is_a_usage_error(run: Run) -> None:
    result = run(*OWN, "--runtime=cudagraph", "--baseline=none")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--runtime: CUDA graphs need an NVIDIA GPU*"])


def test_bad_options_are_usage_errors() -> None:
    with pytest.raises(VariantError, match="--runtime"):
        parsed(runtime="nope")
    with pytest.raises(OptionError, match="--steps"):
        parsed(steps="0")


def test_a_default_run_measures_as_ever(run: Run, saved: Saved) -> None:
    """No option of a variant: no comparison, and the ids that baselines were saved under."""
    run(*OWN, "--iters=3", "--benchmark-json=out.json").assert_outcomes(passed=1)
    (benchmark,) = saved().values()
    info = benchmark["extra_info"]
    assert benchmark["name"] == "test_forward[net-fp32-b1-224]"
    assert (info["runtime"], info["prune"], info["baseline"], info["speedup"]) == ("eager", 0.0, None, None)
    assert info["runtime_file_bytes"] == info["model_file_bytes"]


@pytest.mark.slow
def test_cases_are_listed_alike_whatever_the_hash_seed() -> None:
    """No order comes from a set or from the file system."""
    listed = []
    for seed in ("1", "2"):
        command = [sys.executable, "-m", "pytest", "benchmarks", "--collect-only", "-q"]
        options = ["--precision=bf16,fp32", "--runtime=compile,eager", "--prune=0.5,0"]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [*command, *options], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        listed.append([line for line in done.stdout.splitlines() if "::" in line])
    assert listed[0] == listed[1]
    assert len(listed[0]) > 100
