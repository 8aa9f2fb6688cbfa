"""Costs against closed forms, and against the published architectures at full size on meta tensors."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fixtures.cases.family import Build, family
from fixtures.cases.meta import meta_copy
from fixtures.cases.model import Model
from fixtures.config.weights import parse_weights
from fixtures.guard.chance import Chance
from fixtures.measure.complexity import count
from fixtures.models import yolo


class Wrapped(Model):
    def forward(self, *args: torch.Tensor, **kwargs: torch.Tensor) -> Any:
        return self.module(*args, **kwargs)


def flops_of(module: nn.Module, *args: torch.Tensor) -> tuple[float | None, tuple[str, ...]]:
    model = Wrapped(module, "random:0")
    cost = count(model, model.forward, args, {})
    return cost.flops, cost.uncounted_ops


def test_linear_is_two_flops_a_mac() -> None:
    assert flops_of(nn.Linear(100, 50), torch.zeros(7, 100)) == (2 * 7 * 100 * 50, ())


@pytest.mark.parametrize("groups", [1, 3])
def test_convolution_divides_by_its_groups(groups: int) -> None:
    module = nn.Conv2d(6, 9, kernel_size=3, padding=1, groups=groups)
    assert flops_of(module, torch.zeros(2, 6, 16, 16)) == (2 * 2 * 9 * 16 * 16 * (6 // groups) * 9, ())


class Attention(nn.Module):
    def forward(self, q: torch.Tensor) -> torch.Tensor:
        return nn.functional.scaled_dot_product_attention(q, q, q)


def test_attention_is_counted_though_cpu_kernels_hide_it() -> None:
    batch, heads, tokens, width = 2, 4, 10, 8
    expected = 2 * 2 * batch * heads * tokens * tokens * width
    assert flops_of(Attention(), torch.zeros(batch, heads, tokens, width)) == (expected, ())


def test_multihead_attention_is_counted_though_its_fast_path_hides_it() -> None:
    class Self(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.attention(x, x, x, need_weights=False)[0]

    batch, tokens, width = 2, 10, 16
    projections = 4 * 2 * batch * tokens * width * width
    scores = 2 * 2 * batch * tokens * tokens * width
    assert flops_of(Self(), torch.zeros(batch, tokens, width)) == (projections + scores, ())


def test_lstm_is_counted_though_mkldnn_hides_it() -> None:
    batch, steps, inputs, hidden = 2, 5, 8, 16
    expected = 2 * batch * steps * 4 * hidden * (inputs + hidden)
    assert flops_of(nn.LSTM(inputs, hidden, batch_first=True), torch.zeros(batch, steps, inputs)) == (expected, ())


def test_encoder_layer_is_counted_though_its_fast_path_hides_it() -> None:
    batch, tokens, width, inner = 2, 10, 16, 32
    module = nn.TransformerEncoderLayer(width, 4, inner, batch_first=True)
    expected = 2 * batch * tokens * (4 * width * width + 2 * width * inner) + 4 * batch * tokens * tokens * width
    assert flops_of(module, torch.zeros(batch, tokens, width)) == (expected, ())


class DataDependent(nn.Module):
    """Cannot run on meta tensors: it looks at a value."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) if float(x.sum()) >= 0 else x


def test_what_cannot_run_on_meta_is_counted_where_it_is_and_says_so() -> None:
    model = Wrapped(DataDependent(), "random:0")
    cost = count(model, model.forward, (torch.zeros(1, 4),), {})
    assert cost.flops == 2 * 16
    assert cost.counter.endswith("on the device")
    assert cost.note is not None
    assert "not on meta tensors" in cost.note.text


class Hidden(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fft.fft(x).real @ torch.linalg.inv(x)


def test_heavy_operators_without_a_formula_are_listed() -> None:
    _, uncounted = flops_of(Hidden(), torch.eye(4))
    assert "aten._fft_r2c" in uncounted
    assert any("inv" in name for name in uncounted)


def test_counting_leaves_the_model_as_it_was() -> None:
    module = nn.Linear(3, 3)
    before = module.weight.detach().clone()
    flops_of(module, torch.zeros(1, 3))
    assert module.weight.device.type == "cpu"
    assert torch.equal(module.weight, before)


def test_shared_parameters_count_once_in_the_copy_too() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    module[1].weight = module[0].weight
    copied = meta_copy(module, module)
    assert copied[0].weight is copied[1].weight
    assert copied[0].weight.is_meta


def test_keyword_inputs_are_counted() -> None:
    model = Wrapped(nn.Linear(3, 3), "random:0")
    assert count(model, model.forward, (), {"input": torch.zeros(2, 3)}).flops == 2 * 2 * 9


def test_trainable_parameters_are_those_before_freezing() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    module[0].requires_grad_(False)
    model = Wrapped(module, "random:0")
    cost = count(model, model.forward, (torch.zeros(1, 3),), {})
    assert (cost.params, cost.params_trainable, cost.weights_bytes) == (24, 12, 96)


def on_meta(name: str, dtype: torch.dtype = torch.float32) -> Model:
    """A built-in model at full size that takes no memory."""
    chosen = family(name)
    with torch.device("meta"):
        import fixtures.models.huggingface as huggingface

        filled = huggingface.fill_with_random_weights
        huggingface.fill_with_random_weights = lambda module, seed: None
        try:
            return chosen.load(chosen.specs[0], Build(42, dtype, lambda: 0.0))
        finally:
            huggingface.fill_with_random_weights = filled


def gflops(model: Model, workload: str, *args: torch.Tensor) -> float:
    cost = count(model, getattr(model, workload), args, {})
    assert cost.uncounted_ops == ()
    assert cost.note is None
    assert cost.flops is not None
    return cost.flops / 1e9


@pytest.mark.slow
def test_clip_costs_what_its_architecture_says() -> None:
    model = on_meta("clip")
    pixels, tokens = torch.empty(1, 3, 224, 224), torch.zeros(1, 77, dtype=torch.int64)
    cost = count(model, model.encode_image, (pixels,), {})  # type: ignore[attr-defined]
    assert cost.params == 151_277_313
    assert gflops(model, "encode_image", pixels) == 8.81762304
    assert gflops(model, "encode_image", pixels.expand(8, -1, -1, -1)) == 8 * 8.81762304
    assert gflops(model, "encode_text", tokens) == 5.959540736
    assert gflops(model, "similarity", pixels, tokens) == pytest.approx(14.7771648, abs=2e-6)


@pytest.mark.slow
def test_sam_costs_what_its_architecture_says() -> None:
    model = on_meta("sam")
    pixels, points = torch.empty(1, 3, 1024, 1024), torch.zeros(1, 1, 1, 2)
    assert count(model, model.encode_image, (pixels,), {}).params == 93_735_728  # type: ignore[attr-defined]
    assert gflops(model, "encode_image", pixels) == pytest.approx(972.0773, abs=5e-5)
    assert gflops(model, "decode_masks", torch.empty(1, 256, 64, 64), points) == pytest.approx(3.6247, abs=5e-5)
    assert gflops(model, "segment", pixels, points) == pytest.approx(975.7020, abs=5e-5)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_blip2_costs_what_its_architecture_says(dtype: torch.dtype) -> None:
    model = on_meta("blip2", dtype)
    pixels = torch.empty(1, 3, 224, 224, dtype=dtype)
    assert count(model, model.image_part, (pixels,), {}).params == 3_744_679_936  # type: ignore[attr-defined]
    assert gflops(model, "image_part", pixels) == pytest.approx(533.59, abs=5e-3)
    assert gflops(model, "generate", pixels) == pytest.approx(801.09, abs=5e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("index", "params", "at_640", "at_320"),
    # YOLO11 has attention, which grows with the square of the area: scaling by the area would be wrong.
    [(0, 3_157_200, 8.7439872, 8.7439872 / 4), (1, 2_624_080, 6.5425024, 1.6241056)],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_yolo_is_counted_unfused_at_the_size_that_ran(
    index: int, params: int, at_640: float, at_320: float, dtype: torch.dtype
) -> None:
    chosen = family("yolo")
    model = chosen.load(chosen.specs[index], Build(42, dtype, lambda: 0.0))
    model.settle()
    cost = count(model, model.forward, (torch.empty(1, 3, 640, 640, dtype=dtype),), {})  # type: ignore[attr-defined]
    assert (cost.params, model.fused) == (params, True)
    assert cost.weights_bytes < params * dtype.itemsize  # the timed module's: fusing dropped the batch norms
    assert gflops(model, "forward", torch.empty(1, 3, 640, 640, dtype=dtype)) == at_640
    assert gflops(model, "forward", torch.empty(1, 3, 320, 320, dtype=dtype)) == at_320


class SkipsAtRandom(nn.Module):
    """Six layers, each left out by a draw from what `draw` returns."""

    def __init__(self, draw: Callable[[], float]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(6))
        self.draw = draw

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            if self.draw() < 0.5:
                x = layer(x)
        return x


@pytest.mark.parametrize(
    "draw",
    [lambda: float(torch.rand(())), lambda: float(np.random.rand()), random.random],
    ids=["torch", "numpy", "py"],
)
def test_layers_skipped_at_random_are_the_same_in_every_count_and_said_to_vary(draw: Callable[[], float]) -> None:
    costs, states = [], []
    for own_code in (False, True):
        draw()  # what was drawn before does not matter
        model = Wrapped(SkipsAtRandom(draw), "random:0")
        before = Chance.now()
        costs.append(count(model, model.forward, (torch.zeros(1, 4),), {}, own_code))
        states.append(Chance.now() == before)
    assert costs[0].flops == costs[1].flops
    assert all(cost.varies for cost in costs)
    assert states == [True, True]  # the counts took nothing from the numbers that come next


def test_a_generator_of_its_own_and_a_count_of_calls_vary_too() -> None:
    generator = torch.Generator().manual_seed(3)
    calls = iter(range(100))
    for draw in (lambda: float(torch.rand((), generator=generator)), lambda: (next(calls) // 6) % 2):
        model = Wrapped(SkipsAtRandom(draw), "random:0")
        assert count(model, model.forward, (torch.zeros(1, 4),), {}, True).varies


def test_what_is_the_same_every_time_does_not_vary() -> None:
    for net in (nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.Dropout()), DataDependent()):
        model = Wrapped(net, "random:0")
        assert not count(model, model.forward, (torch.zeros(1, 4),), {}, True).varies


@pytest.mark.parametrize(("name", "params", "gflops"), [("yolov10n", 2.3, 6.76), ("yolo26n", 2.4, 5.48)])
def test_an_end_to_end_head_is_counted_as_inference_runs_it(name: str, params: float, gflops: float) -> None:
    """Its training-only branch was counted: 2.8 M and 8.6 G for what is published as 2.3 M and 6.7 G."""
    (found,) = parse_weights([f"{name}.yaml"], Path())
    model = yolo.load(yolo.spec_from_file(name, found.location), Build(42, torch.float32, lambda: 0.0))
    model.settle()
    cost = count(model, model.forward, (torch.zeros(1, 3, 640, 640),), {})
    assert (round(cost.params / 1e6, 1), round((cost.flops or 0) / 1e9, 2)) == (params, gflops)
    assert (model.reference is not None, cost.note) == (True, None)
