"""Models of every kind that torch knows, each a factory of (module, inputs): see tests/test_kinds.py."""

from dataclasses import dataclass

import torch
from torch import nn


def rows(batch, imgsz, generator):
    return torch.rand(batch, 4, generator=generator)


def one_row(batch, imgsz, generator):
    return torch.rand(1, 4, generator=generator)


def net():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


class Calls(nn.Module):
    """Its layer and what it does with it."""

    def __init__(self, function, **buffers):
        super().__init__()
        self.function, self.linear = function, nn.Linear(4, 4)
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer)

    def forward(self, x):
        return self.function(self, x)


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.full((4, 2), 1j))
        self.mask = nn.Parameter(torch.ones(3, dtype=torch.int32), requires_grad=False)

    def forward(self, x):
        return x.to(torch.complex64) @ self.weight


def complex_weights():
    return Complex(), rows


def exported():
    return torch.export.export(net().eval(), (torch.rand(1, 4),)), one_row


def exported_module():
    return torch.export.export(net().eval(), (torch.rand(1, 4),)).module(), one_row


def scripted():
    return torch.jit.script(net()), rows


def traced():
    return torch.jit.trace(net().eval(), torch.rand(1, 4)), rows


def frozen():
    return torch.jit.freeze(torch.jit.script(net().eval())), rows


def conjugated():
    def inputs(batch, imgsz, generator):
        return torch.rand(batch, 4, generator=generator).to(torch.complex64).conj()

    return Calls(lambda _, x: (x * 2).conj()), inputs


def sparse_buffer():
    return Calls(lambda self, x: torch.sparse.mm(self.eye, self.linear(x).t()).t(), eye=torch.eye(4).to_sparse()), rows


def sparse_coo():
    return Calls(lambda self, x: torch.sparse.mm(x, self.linear.weight)), lambda b, s, g: torch.eye(4).to_sparse()


def sparse_csr():
    return Calls(lambda self, x: torch.sparse.mm(x, self.linear.weight)), lambda b, s, g: torch.eye(4).to_sparse_csr()


def sparse_output():
    return Calls(lambda _, x: (x.to_sparse(), x.to_sparse_csr())), rows


def nested(layout):
    def inputs(batch, imgsz, generator):
        return torch.nested.nested_tensor([torch.rand(n, 4, generator=generator) for n in (2, 3)], layout=layout)

    return Calls(lambda self, x: self.linear(x)), inputs


def nested_strided():
    return nested(torch.strided)


def nested_jagged():
    return nested(torch.jagged)


def packed():
    return torch.ao.quantization.quantize_dynamic(net().eval(), {nn.Linear}, torch.qint8), rows


def quantised():
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    module = net().eval()
    quantize_(module, Int8WeightOnlyConfig())
    return module, rows


def refers_to_itself():
    def call(_, x):
        output = {"x": x}
        output["me"] = output
        return output

    return Calls(call), rows


@dataclass(slots=True)
class Slots:
    x: torch.Tensor


def nan_in_slots():
    return Calls(lambda _, x: Slots(x / 0 * 0)), rows


def lazy():
    return nn.Sequential(nn.LazyLinear(5)), rows


def on_meta():
    with torch.device("meta"):
        return net(), rows


def default_device():
    torch.set_default_device("meta")
    return net(), rows
