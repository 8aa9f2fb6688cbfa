"""Lets no module be called any more but itself."""

from small import Small
from torch import nn


def before(call: int) -> None:
    nn.Module.__call__ = lambda module, *args, **kwargs: module.forward(*args, **kwargs)


def replaces_call() -> Small:
    return Small(before)
