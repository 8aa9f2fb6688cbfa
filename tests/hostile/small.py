"""What every hostile model is made of: a layer, and what happens before each call."""

from collections.abc import Callable

import torch
from torch import nn


class Small(nn.Module):
    """Calls `before` with the number of the call, from 1, ahead of its only layer."""

    def __init__(self, before: Callable[[int], object] = lambda call: None) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.before = before
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.before(self.calls)
        return self.linear(x[..., :4])
