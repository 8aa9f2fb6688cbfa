"""Puts another function in the place of one of torch's."""

import torch
from small import Small


def before(call: int) -> None:
    torch.matmul = None


def replaces_matmul() -> Small:
    return Small(before)
