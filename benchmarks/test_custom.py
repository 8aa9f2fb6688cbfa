"""Your own models, given as --model=FILE.py:NAME; see "Your own model" in the README."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.family("custom")


def test_forward(model, main_batches, measure) -> None:
    """One forward pass of your module on its own inputs, or on the fixed images."""
    measure(model.forward, main_batches, unit="samples")
