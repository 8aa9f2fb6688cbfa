"""Work of operators against closed forms: MACs, additions, bytes read and written, and their sums over modules."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fixtures.cases.family import Build, family
from fixtures.measure.complexity import Cost, count
from fixtures.measure.operators import Work
from tests.test_complexity import Attention, Wrapped, on_meta

FP32 = 4


def cost_of(module: nn.Module, *args: torch.Tensor) -> Cost:
    model = Wrapped(module, "random:0")
    return count(model, model.forward, args, {})


def test_the_convolution_of_the_literature() -> None:
    """3 -> 2 channels, kernel 7, stride 2, padding 3, no bias, on (3, 500, 500)."""
    found = cost_of(nn.Conv2d(3, 2, 7, stride=2, padding=3, bias=False), torch.zeros(1, 3, 500, 500)).work
    assert found == Work(18_375_000, 36_625_000, 3_001_176, 500_000)


@pytest.mark.parametrize("bias", [True, False])
def test_linear(bias: bool) -> None:
    rows, inputs, outputs = 7, 100, 50
    macs = rows * inputs * outputs
    read = rows * inputs + inputs * outputs + bias * outputs
    expected = Work(macs, 2 * macs - (not bias) * rows * outputs, read * FP32, rows * outputs * FP32)
    assert cost_of(nn.Linear(inputs, outputs, bias=bias), torch.zeros(rows, inputs)).work == expected


@pytest.mark.parametrize("groups", [1, 3])
def test_grouped_convolution_with_bias(groups: int) -> None:
    module = nn.Conv2d(6, 9, kernel_size=3, padding=1, groups=groups)
    outputs = 2 * 9 * 16 * 16
    macs = outputs * (6 // groups) * 9
    read = 2 * 6 * 16 * 16 + 9 * (6 // groups) * 9 + 9
    assert cost_of(module, torch.zeros(2, 6, 16, 16)).work == Work(macs, 2 * macs, read * FP32, outputs * FP32)


def test_attention_reads_queries_keys_and_values_once() -> None:
    batch, heads, tokens, width = 2, 4, 10, 8
    one = batch * heads * tokens * width
    macs = 2 * one * tokens
    sums = batch * heads * tokens * tokens + one
    expected = Work(macs, 2 * macs - sums, 3 * one * FP32, one * FP32)
    assert cost_of(Attention(), torch.zeros(batch, heads, tokens, width)).work == expected


class Does(nn.Module):
    def __init__(self, what: Any) -> None:
        super().__init__()
        self.what = what

    def forward(self, *args: torch.Tensor) -> Any:
        return self.what(*args)


@pytest.mark.parametrize(
    ("what", "read", "written"),
    [
        (lambda x: x.view(6, 4).t()[1:3].unsqueeze(0), 0, 0),
        (lambda x: x.expand(8, 24), 0, 0),
        (lambda x: x.expand(8, 24) + 1, 24, 192),
        (lambda x: x + 1, 24, 24),
        (lambda x: x.relu_(), 24, 24),
        (lambda x: torch.empty_like(x), 0, 0),
        (lambda x: torch.zeros_like(x), 0, 24),
        (lambda x: torch.empty_like(x).copy_(x), 24, 24),
        (lambda x: x.half(), 24, 12),
    ],
    ids=["views", "expand", "expanded", "add", "in place", "empty", "fill", "copy", "convert"],
)
def test_what_moves_memory_and_what_does_not(what: Any, read: int, written: int) -> None:
    found = cost_of(Does(what), torch.zeros(1, 24)).work
    assert found is not None
    assert (found.read_bytes, found.written_bytes) == (read * FP32, written * FP32)


def test_a_look_up_reads_the_rows_it_returns_and_not_the_table() -> None:
    found = cost_of(nn.Embedding(1000, 8), torch.zeros(2, 5, dtype=torch.int64)).work
    assert found == Work(0, 0, 10 * 8 * FP32 + 10 * 8, 10 * 8 * FP32)


class Shared(nn.Module):
    """A layer used twice, a parameter of its own, and a layer within a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))
        self.inner = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(self.inner(x) * self.scale)


def test_layers_are_named_as_in_the_state_dict_and_hold_only_their_own() -> None:
    cost = cost_of(Shared(), torch.zeros(3, 4))
    assert [(layer.name, layer.kind, layer.params, layer.macs) for layer in cost.layers] == [
        ("", "Shared", 4, 0),
        ("inner.0", "Linear", 20, 96),
        ("inner.1", "Linear", 20, 96),
    ]
    assert [layer.share for layer in cost.layers] == [0, 0.5, 0.5]
    assert cost.layers[0].memory_bytes == (3 * 4 + 4 + 3 * 4) * FP32


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "call", "args"),
    [
        ("clip", "similarity", ((2, 3, 224, 224), (2, 77))),
        ("sam", "encode_image", ((1, 3, 1024, 1024),)),
        ("yolo", "forward", ((1, 3, 640, 640),)),
        ("blip2", "generate", ((1, 3, 224, 224),)),
    ],
)
def test_sums_over_the_modules_of_the_full_architectures_are_the_totals(
    name: str, call: str, args: tuple[tuple[int, ...], ...]
) -> None:
    chosen = family(name)
    model = chosen.load(chosen.specs[0], Build(0, torch.float32, lambda: 0.0)) if name == "yolo" else on_meta(name)
    model.settle()
    tensors = [torch.zeros(s, dtype=torch.int64 if s == (2, 77) else torch.float32, device="meta") for s in args]
    cost = count(model, getattr(model, call), tuple(tensors), {})
    assert cost.work is not None
    assert cost.flops == pytest.approx(2 * cost.work.macs, rel=0)
    assert sum(layer.params for layer in cost.layers) == cost.params
    assert sum(layer.macs for layer in cost.layers) == pytest.approx(cost.work.macs, rel=1e-12)
    moved = cost.work.read_bytes + cost.work.written_bytes
    assert sum(layer.memory_bytes for layer in cost.layers) == pytest.approx(moved, rel=1e-12)
    assert sum(layer.share for layer in cost.layers) == pytest.approx(1)
    assert cost.timed_work is not None
    assert cost.timed_work.macs == pytest.approx(cost.work.macs, rel=0.01)
    timed = cost.timed_work.read_bytes + cost.timed_work.written_bytes
    # Fusing does away with the batch norms, which read and write every activation once more.
    assert 0.4 * moved < timed < 0.8 * moved if name == "yolo" else timed == moved


def does(what: Any, *args: torch.Tensor) -> Cost:
    return cost_of(Does(what), *args)


def complex_rows(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.complex64)


@pytest.mark.parametrize(
    ("what", "args"),
    [
        (torch.cdist, (torch.rand(30, 8), torch.rand(40, 8))),
        (lambda a, b: torch.cdist(a, b, p=1), (torch.rand(3, 8), torch.rand(4, 8))),
        (nn.functional.pdist, (torch.rand(10, 8),)),
        (lambda a: nn.functional.affine_grid(a, [2, 3, 8, 8]), (torch.rand(2, 2, 3),)),
        (torch.geqrf, (torch.rand(8, 8),)),
        (torch.addbmm, (torch.rand(3, 5), torch.rand(2, 3, 4), torch.rand(2, 4, 5))),
        (torch.mv, (torch.rand(3, 4), torch.rand(4))),
        (torch.addmv, (torch.rand(3), torch.rand(3, 4), torch.rand(4))),
        (torch.dot, (torch.rand(4), torch.rand(4))),
        (torch.vdot, (torch.rand(4), torch.rand(4))),
        (torch.linalg.lu, (torch.rand(4, 4),)),
        (torch.linalg.eigh, (torch.rand(4, 4),)),
        (torch.ormqr, (torch.rand(4, 4), torch.rand(4), torch.rand(4, 4))),
        (torch.cholesky_inverse, (torch.rand(4, 4),)),
        (torch.fft.fft, (torch.rand(8),)),
    ],
)
def test_what_multiplies_without_a_formula_is_listed(what: Any, args: tuple[torch.Tensor, ...]) -> None:
    assert does(what, *args).uncounted_ops


@pytest.mark.parametrize(
    "what",
    [
        nn.functional.gelu,
        nn.functional.leaky_relu,
        torch.linalg.norm,
        lambda x: torch.nn.utils.parametrizations.weight_norm(nn.Linear(4, 4, device=x.device))(x),
        lambda x: (torch.profiler.record_function("part").__enter__(), x @ x)[1],
    ],
    ids=["gelu", "leaky relu", "norm", "weight norm", "record_function"],
)
def test_what_multiplies_little_is_not(what: Any) -> None:
    """`profiler::_record_function_enter_new` was an uncounted operator."""
    assert does(what, torch.rand(4, 4)).uncounted_ops == ()


def test_a_complex_product_is_four_multiplications() -> None:
    found = does(torch.matmul, complex_rows(3, 4), complex_rows(4, 5))
    products, sums = 3 * 4 * 5, 3 * 3 * 5
    assert found.work is not None
    assert (found.work.macs, found.work.madds) == (4 * products, 6 * products + 2 * sums)
    assert found.flops == 2 * 4 * products  # of the counter, which sees a quarter of them, and the log


def test_an_embedding_bag_reads_the_rows_it_uses() -> None:
    indices, table = torch.arange(6).view(2, 3), torch.rand(100, 8)
    found = does(nn.functional.embedding_bag, indices, table).work
    assert found is not None
    assert found.read_bytes < 6 * 8 * FP32 + 20 * 8


def test_index_put_writes_what_it_puts() -> None:
    found = does(lambda a, i, v: a.index_put_((i,), v), torch.rand(100, 8), torch.arange(3), torch.rand(3, 8)).work
    assert found == Work(0, 0, 3 * 8 + 3 * 8 * FP32, 3 * 8 * FP32)


def test_a_linear_layer_adds_its_bias_however_its_input_lies() -> None:
    def apart(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x.transpose(0, 1), weight, bias)

    found = does(apart, torch.rand(5, 2, 4), torch.rand(3, 4), torch.rand(3)).work
    assert found is not None
    assert found.madds == 2 * 10 * 4 * 3


@pytest.mark.parametrize("bias", [False, True])
def test_a_transposed_convolution_with_a_stride_over_its_kernel(bias: bool) -> None:
    """Outputs between the products were counted as negative additions."""
    module = nn.ConvTranspose2d(3, 2, 1, stride=5, bias=bias)
    found = cost_of(module, torch.zeros(1, 3, 4, 4)).work
    products, sums, outputs = 16 * 3 * 2, 16 * 2 * 2, 2 * 16 * 16
    assert found is not None
    assert found.madds == products + sums + bias * outputs


def in_a_thread(x: torch.Tensor) -> torch.Tensor:
    found: list[torch.Tensor] = []
    worker = threading.Thread(target=lambda: found.append(x @ x))
    worker.start()
    worker.join()
    return found[0]


_POOL = ThreadPoolExecutor(1)


@pytest.mark.parametrize(
    ("what", "unseen"),
    [
        (in_a_thread, "other threads"),
        (lambda x: _POOL.submit(torch.matmul, x, x).result(), "other threads"),
        (lambda x: torch.from_numpy(x.numpy() @ x.numpy()), "numpy"),
        (lambda x: torch.from_numpy(np.asarray(x) @ np.asarray(x)), "numpy"),
    ],
)
def test_work_that_nobody_saw_is_told(what: Any, unseen: str) -> None:
    """It counted 0 FLOPs without a note."""
    _POOL.submit(int).result()  # its thread was there before
    assert does(what, torch.rand(4, 4)).uncounted_ops == (unseen,)
