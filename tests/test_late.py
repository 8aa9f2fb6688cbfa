"""What is imported at its first use, and stays; what is frozen, and is thawed."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from fixtures import late
from tests.conftest import OWN

CALLED = """
import gc, sys
import pytest
assert pytest.main(sys.argv[1:]) == 0
print("frozen afterwards:", gc.get_freeze_count())
"""
FROZEN = """
import gc
from torch import nn

def net():
    print("frozen before it is loaded:", gc.get_freeze_count() > 100_000)
    return nn.Conv2d(3, 2, 3)
"""


def test_a_module_that_somebody_deleted_is_not_imported_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch cannot be imported twice: a model's code that took it out of sys.modules ended the whole run."""
    assert late.torch.float32 is torch.float32
    monkeypatch.delitem(sys.modules, "torch")
    assert late.torch.float32 is torch.float32


def test_what_somebody_put_in_its_place_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "load", "replaced")
    assert late.torch.load == "replaced"


@pytest.mark.slow
def test_what_was_imported_is_frozen_for_the_run_and_no_longer(project: pytest.Pytester) -> None:
    """A program that calls pytest goes on with its own garbage."""
    (project.path / "called.py").write_text(CALLED)
    (project.path / "tiny.py").write_text(FROZEN)
    command = [sys.executable, "called.py", "benchmarks", *OWN, "-s"]
    done = subprocess.run(command, cwd=project.path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "frozen before it is loaded: True" in done.stdout
    assert "frozen afterwards: 0" in done.stdout
