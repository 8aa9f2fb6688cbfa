"""Has a layer for other inputs than it is given."""

from small import Small
from torch import nn


def wrong_shape() -> Small:
    model = Small()
    model.linear = nn.Linear(5, 4)
    return model
