"""Models that compute gradients in their call, such as forces of an energy."""

from __future__ import annotations

import pytest

from fixtures.guard.failures import told
from tests.conftest import Run, Saved, info_of, no_traceback

FORCES = """
import torch
from torch import nn

class Forces(nn.Module):
    def __init__(self):
        super().__init__()
        self.energy = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, positions):
        positions = positions.requires_grad_(True)
        return torch.autograd.grad(self.energy(positions).sum(), positions)[0]

def forces():
    return Forces(), lambda batch, imgsz, generator: torch.rand(batch, 3, generator=generator)
"""
ARGS = ("-k", "custom", "--model=mine.py:forces", "--batch=1", "--iters=3")


@pytest.fixture(autouse=True)
def mine(project: pytest.Pytester) -> None:
    project.makepyfile(mine=FORCES)


def test_inference_mode_is_named_where_it_refuses(run: Run) -> None:
    result = run(*ARGS)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["forces: forward failed *models run in torch's inference mode unless --grad is given"])
    no_traceback(result)


def test_what_has_nothing_to_do_with_it_is_told_plainly() -> None:
    plain = AttributeError("'list' object has no attribute 'requires_grad_'")
    assert told(plain) == "AttributeError: 'list' object has no attribute 'requires_grad_'"
    refused = RuntimeError("Inference tensors cannot be saved for backward.")
    assert told(refused).endswith("; models run in torch's inference mode unless --grad is given")


def test_asked_for_they_are_allowed_and_told(run: Run, saved: Saved) -> None:
    run(*ARGS, "--grad", "--benchmark-json=out.json").assert_outcomes(passed=1)
    info = info_of(saved)
    assert info["gradients"] is True
    assert info["output_finite"] is True


NONE_NEEDED = """
import torch
from torch import nn

def forces():
    return nn.Linear(3, 3), lambda batch, imgsz, generator: torch.rand(batch, 3, generator=generator)
"""


def test_with_and_without_are_not_compared(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(mine=NONE_NEEDED)
    run(*ARGS, "--benchmark-save=base").assert_outcomes(passed=1)
    result = run(*ARGS, "--grad", "--benchmark-compare")
    result.stdout.fnmatch_lines(["*gradients False -> True*"])
    result.stdout.no_fnmatch_line("*1 compared*")
