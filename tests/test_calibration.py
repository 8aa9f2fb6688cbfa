"""What a converter is given: int8's inputs, cut to its batch; and a precision that a runtime would replace."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fixtures.cases.model import Model
from fixtures.cases.variants import UnavailableError, Variant
from fixtures.devices.cpu import Cpu
from fixtures.runtimes.graph import Graph, Runner, Traceable, in_batches_of


def test_known_inputs_are_cut_anew_for_a_graph_of_another_batch() -> None:
    known = [((torch.arange(4.0).reshape(4, 1) + 4 * i,), {"mask": torch.ones(4, 1) * i}) for i in range(2)]
    like = ((torch.zeros(3, 1),), {"mask": torch.zeros(3, 1)})
    found = in_batches_of(like, known)
    assert [arguments[0][0].flatten().tolist() for arguments in found] == [[0, 1, 2], [3, 4, 5]]
    assert found[1][1]["mask"].flatten().tolist() == [0, 1, 1]
    assert in_batches_of(like, []) == [like]
    larger = ((torch.zeros(9, 1),), {"mask": torch.zeros(9, 1)})
    assert in_batches_of(larger, known) == [larger]


def test_int8_takes_its_ranges_from_the_inputs_it_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Same(Runner):
        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            return x

    seen: list[float] = []

    def convert(given: Traceable) -> Runner:
        seen.extend(float(arguments[0][0]) for arguments in given.calibration)
        return Same()

    monkeypatch.setattr("fixtures.runtimes.onnx_runtime.convert", convert)
    graph = Graph(Model(nn.Identity(), "r"), nn.Identity().forward, Variant("int8", "onnxruntime"), Cpu(), 1)
    graph.calibrate = lambda: [((torch.tensor([[2.0]]),), {}), ((torch.tensor([[3.0]]),), {})]
    graph(torch.tensor([[1.0]]))
    assert seen == [2.0, 3.0]


@pytest.mark.slow
def test_a_precision_that_openvino_would_replace_is_refused(runtimes: None) -> None:
    import openvino

    if "FP16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor computes in fp16")
    net = nn.Linear(4, 4).eval()
    graph = Graph(Model(net, "r"), net.forward, Variant("fp16", "openvino"), Cpu(), 1)
    with pytest.raises(UnavailableError, match=r"fp16-openvino: this CPU would run \w+ instead"):
        graph(torch.rand(1, 4))
