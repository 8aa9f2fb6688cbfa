"""CUDA graphs and TensorRT without a GPU: what is captured, replayed and asked for, on stand-ins of torch's calls."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from fixtures.cases.model import Model
from fixtures.cases.variants import UnavailableError, Variant
from fixtures.devices.cpu import Cpu
from fixtures.runtimes.graph import Graph, MethodModule, Traceable, attach


class Recording:
    """A CUDA graph that runs again what was called while it was captured."""

    def __init__(self) -> None:
        self.replays = 0
        self.again: Any = lambda: None

    def replay(self) -> None:
        self.replays += 1
        self.again()


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Streams that do nothing, graphs that remember."""
    stream = SimpleNamespace(wait_stream=lambda other: None)
    made: list[Recording] = []

    def new() -> Recording:
        made.append(Recording())
        return made[-1]

    @contextmanager
    def within(_: Any) -> Any:
        yield

    for name, value in {
        "Stream": lambda: stream,
        "current_stream": lambda: stream,
        "stream": within,
        "CUDAGraph": new,
        "graph": within,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    return SimpleNamespace(graphs=made)


def test_a_cuda_graph_is_captured_once_and_replayed_on_new_inputs(cuda: SimpleNamespace) -> None:
    calls: list[torch.Tensor] = []
    held = torch.zeros(2)

    def method(x: torch.Tensor) -> torch.Tensor:
        calls.append(x)
        held.copy_(2 * x)
        return held

    model = Model(nn.Linear(1, 1), "random:0")
    graph = Graph(model, method, Variant("fp32", "cudagraph"), Cpu(), 1)
    result = graph(torch.tensor([1.0, 2.0]))
    (recorded,) = cuda.graphs
    # Once eager for the output's form, three times to warm up, once captured.
    assert len(calls) == 5
    assert result is held
    static = calls[-1]
    recorded.again = lambda: held.copy_(2 * static)
    assert graph(torch.tensor([5.0, 7.0])).tolist() == [10.0, 14.0]
    assert (recorded.replays, len(calls)) == (2, 5)


def traceable(precision: str, tmp_path: Path) -> Traceable:
    model = Model(nn.Linear(2, 2), "random:0")
    x = torch.ones(1, 2)
    module = MethodModule(model, model.module.forward)
    return Traceable(model.module.forward, module, (x,), {}, x, precision, Cpu(), 1, [], tmp_path)


@pytest.mark.parametrize(
    ("precision", "tf32"),
    [("fp32", False), ("tf32", True), ("fp16", False)],
)
def test_tensorrt_is_asked_for_the_precision_and_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, precision: str, tf32: bool
) -> None:
    asked: dict[str, Any] = {}

    def compiled(module: nn.Module, **given: Any) -> nn.Module:
        asked.update(given)
        return module

    monkeypatch.setitem(sys.modules, "torch_tensorrt", SimpleNamespace(compile=compiled))
    from fixtures.runtimes.tensorrt_runtime import convert

    given = traceable(precision, tmp_path)
    runner = convert(given)
    assert (asked["use_explicit_typing"], asked["require_full_compilation"], asked["min_block_size"]) == (True, True, 1)
    assert asked["disable_tf32"] is not tf32
    assert torch.equal(runner(*given.args), given.method(*given.args))


def test_another_shape_is_converted_anew_and_a_known_one_is_not(cuda: SimpleNamespace) -> None:
    def same(x: torch.Tensor) -> torch.Tensor:
        return x

    graph = Graph(Model(nn.Linear(1, 1), "r"), same, Variant("fp32", "cudagraph"), Cpu(), 1)
    for size in (2, 3, 2):
        if len(cuda.graphs) and size == 2:
            cuda.graphs[0].again = lambda: None
        graph(torch.ones(size))
    assert len(cuda.graphs) == 2


def test_a_converter_that_fails_says_why() -> None:
    def broken(x: torch.Tensor) -> torch.Tensor:
        raise ValueError("no such kernel")

    graph = Graph(Model(nn.Linear(1, 1), "r"), broken, Variant("fp32", "openvino"), Cpu(), 1)
    with pytest.raises(UnavailableError, match="fp32-openvino: broken cannot be converted: ValueError: no such kernel"):
        graph(torch.ones(2))


def test_what_is_counted_stays_eager() -> None:
    class Net(Model):
        graphs = ("forward",)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    model = Net(nn.Linear(1, 1), "r")
    attach(model, Variant("fp32", "compile"), Cpu(), 1)
    assert isinstance(model.forward, Graph)
    assert model.forward.__name__ == "forward"
    assert isinstance(model.eager, Net)
    assert not isinstance(model.eager.forward, Graph)
    assert model.reference is model.eager
