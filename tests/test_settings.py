"""Options: what they take, and what they say when they cannot."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from fixtures.config.settings import OptionError, Settings, settings_from
from fixtures.devices.base import Device, DeviceError
from fixtures.devices.choose import parse_device
from fixtures.devices.cpu import Cpu
from fixtures.devices.cuda import Cuda
from fixtures.devices.mps import Mps
from fixtures.options import OPTIONS
from fixtures.workers.mode import mode_from

DEFAULTS = {**{each.dest: each.default for each in OPTIONS}, "device": "cpu"}


def parsed(gpu_count: int = 0, **given: Any) -> Settings:
    return settings_from({**DEFAULTS, **given}.get, Path("/work"), lambda: gpu_count)


def test_defaults_are_those_of_the_contract() -> None:
    settings = parsed()
    assert (settings.batches, settings.imgszs, settings.precisions) == (None, None, None)
    assert (settings.num_images, settings.seed, settings.max_seconds) == (200, 42, 6.0)
    assert (settings.device.iters, settings.device.warmup) == (300, None)
    assert settings.steps == 20


def test_gpu_defaults_are_those_of_the_contract() -> None:
    settings = parsed(gpu_count=1, device="auto")
    assert settings.device == Cuda(0)
    assert (settings.device.warmup, settings.device.iters, settings.max_seconds) == (50, 300, None)
    assert settings.device.batches == (1, 2, 4, 8)
    assert settings.all_models


def test_lists_lose_duplicates_and_keep_their_order() -> None:
    settings = parsed(batch="8, 1,8", precision="BF16,fp32")
    assert (settings.batches, settings.precisions) == ((8, 1), ("bf16", "fp32"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"batch": "1,x"},
            "--batch: expected positive integers separated by commas, got '1,x'; for example --batch 1,8",
        ),
        ({"batch": "0"}, "--batch: expected positive integers separated by commas, got '0'; for example --batch 1,8"),
        ({"batch": "-1"}, "--batch: expected positive integers separated by commas, got '-1'; for example --batch 1,8"),
        ({"batch": ""}, "--batch: expected positive integers separated by commas, got ''; for example --batch 1,8"),
        ({"batch": "99999999999"}, "--batch: got 99999999999, at most 65536 is allowed"),
        ({"seed": "99999999999"}, "--seed: got 99999999999, at most 4294967295 is allowed"),
        ({"num_images": "1000000"}, "--num-images: got 1000000, at most 100000 is allowed"),
        (
            {"iters": "9" * 5000},
            f"--iters: expected an integer of at least 1, got '{'9' * 5000}'",
        ),
        (
            {"imgsz": "224;"},
            "--imgsz: expected positive integers separated by commas, got '224;'; for example --imgsz 1,8",
        ),
        ({"imgsz": "100000"}, "--imgsz: got 100000, at most 16384 is allowed"),
        ({"precision": "fp8"}, "--precision: expected some of fp32, tf32, bf16, fp16, int8, got 'fp8'"),
        ({"warmup": "-3"}, "--warmup: expected an integer of at least 0, got '-3'"),
        ({"iters": "0"}, "--iters: expected an integer of at least 1, got '0'"),
        ({"threads": "0"}, "--threads: expected an integer of at least 1, got '0'"),
        ({"seed": "x"}, "--seed: expected an integer of at least 0, got 'x'"),
        ({"num_images": "0"}, "--num-images: expected an integer of at least 1, got '0'"),
        (
            {"max_seconds": "nan"},
            "--max-seconds: expected a positive number of seconds, got 'nan'; for example --max-seconds 6",
        ),
    ],
)
def test_a_bad_value_is_told_with_what_is_allowed(given: dict[str, str], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        parsed(**given)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "gpus", "expected"),
    [
        ("auto", 0, Cpu()),
        ("auto", 2, Cuda(0)),
        ("cpu", 2, Cpu()),
        ("cuda", 2, Cuda(0)),
        ("cuda:1", 2, Cuda(1)),
        ("1", 2, Cuda(1)),
        ("mps", 0, Mps()),
    ],
)
def test_devices_by_every_spelling(text: str, gpus: int, expected: Cpu) -> None:
    assert parse_device(text, gpus) == expected


@pytest.mark.parametrize(
    ("text", "gpus", "message"),
    [
        ("tpu", 1, "--device: expected auto, cpu, cuda, cuda:N, N or mps, got 'tpu'"),
        ("", 1, "--device: expected auto, cpu, cuda, cuda:N, N or mps, got ''"),
        ("cuda", 0, "--device: got 'cuda', but there is no NVIDIA GPU or driver here; use --device=cpu"),
        ("2", 2, "--device: got '2', but there are 2 GPUs here, numbered from 0; use --device=cuda:1 or lower"),
        (
            "cuda:1",
            1,
            "--device: got 'cuda:1', but there is 1 GPU here, numbered from 0; use --device=cuda:0 or lower",
        ),
    ],
)
def test_a_device_that_is_not_there(text: str, gpus: int, message: str) -> None:
    with pytest.raises(DeviceError) as caught:
        parse_device(text, gpus)
    assert str(caught.value) == message


def test_the_header_shows_what_holds() -> None:
    models, first, second = parsed(batch="1,8", iters="50", all_models=True).header()
    assert models == "models: built-in --all-models"
    assert "device=cpu" in first
    assert "iters=50 (at most 6 s a case)" in first
    assert "batch=1,8" in second
    assert "images=synthetic num-images=200 seed=42" in second


@pytest.mark.parametrize("kind", [Cpu, Cuda, Mps])
def test_every_kind_of_device_answers_every_question(kind: type[Device]) -> None:
    assert isinstance(kind(), Device)  # nothing abstract is left
    questions = [name for name, annotation in Device.__annotations__.items() if "ClassVar" in annotation]
    assert "missing_precisions" in questions
    assert [name for name in questions if not hasattr(kind, name)] == []


def test_an_apple_gpu_is_not_its_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fixtures.devices.host.cpu_name", lambda: "Apple M3")
    assert (Cpu().hardware_name(), Mps().hardware_name()) == ("Apple M3", "Apple M3 GPU")


# What a parent works out for its children, says to them otherwise, or does itself with what they found.
OF_THE_PARENT = {
    *("--device", "--threads", "--max-seconds", "--weights", "--model"),
    *("--candidate", "--baseline-module", "--reference-module", "--candidate-steps"),
    *("--processes", "--isolate", "--against", "--against-python", "--case-timeout", "--resume"),
    *("--gate", "--gate-file", "--gate-strict", "--gate-summary", "--allow-different", "--budget", "--budget-strict"),
    *("--record-csv", "--columns", "--report", "--export"),
    *("--throughput", "--endpoint"),  # which tests run; children are told their ids
}


def test_every_option_reaches_the_children_or_is_known_to_be_the_parents() -> None:
    """One that did not would have them measure by its default, under a record that says otherwise."""
    assert {each.name for each in OPTIONS if each.child is None} == OF_THE_PARENT


def test_beside_another_version_a_case_has_eight_pairs_of_processes() -> None:
    asked = {**DEFAULTS, "against_python": sys.executable}
    mode = mode_from(asked.get, parsed(), Path("/work"))
    assert mode is not None
    assert (mode.processes, mode.timeout_s, mode.compares) == (8, 600.0, True)
    assert mode_from(DEFAULTS.get, parsed(), Path("/work")) is None
