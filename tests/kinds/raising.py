"""Models that raise at one step or another: see tests/test_kinds.py."""

import torch
from torch import nn


def rows(batch, imgsz, generator):
    return torch.rand(batch, 4, generator=generator)


def raising(step):
    class Raising(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x):
            return self.linear(x)

    def boom(self, *args, **kwargs):
        raise ValueError(f"no {step}")

    class Unreadable(dict):
        __getitem__ = boom

    class Closed:
        __dict__ = property(boom)

    if step == "item":
        Raising.forward = lambda self, x: Unreadable(a=1)
    elif step == "attributes":
        Raising.forward = lambda self, x: Closed()
    else:
        setattr(Raising, step, boom)
    return Raising(), rows


STEPS = (
    *("__getattr__", "forward", "__call__", "_apply", "to", "eval", "train", "state_dict", "parameters"),
    *("named_parameters", "buffers", "named_buffers", "children", "modules", "named_modules", "__deepcopy__"),
    *("__del__", "__repr__", "__hash__", "__eq__", "__len__", "__bool__", "__reduce_ex__", "__dir__", "__str__"),
    *("__setattr__", "item", "attributes"),
)
for each in STEPS:
    globals()[f"no_{each.strip('_')}"] = lambda each=each: raising(each)
